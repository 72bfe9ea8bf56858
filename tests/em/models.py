"""Every model that is registered, over two columns, in each of its kinds."""

from streamem.em import FAMILIES, HMM, LDS, Gaussian, Kalman, Mixture, Part, Poisson, Product

PRODUCT = Product(parts=(Part(Gaussian()), Part(Poisson())))

MOTIONS = ("constant_position", "constant_velocity", "constant_acceleration", "local_level", "local_trend")


def every_model(components):
    """Return mixtures and chains of so many components of every family, and all trackers."""
    return [
        *(
            kind(**{size: components}, family=PRODUCT if name == "product" else FAMILIES[name]())
            for kind, size in ((Mixture, "components"), (HMM, "states"))
            for name in FAMILIES
        ),
        *(Mixture(components=components, family=Gaussian(covariance=one)) for one in ("tied", "diagonal", "spherical")),
        *(Kalman(dynamics=one) for one in MOTIONS),
        Kalman(dynamics="seasonal", period=7),
        *(LDS(state_size=size) for size in (1, 2, 3)),
    ]
