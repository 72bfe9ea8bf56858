"""Tokens for OAUTHBEARER with kafka-python: client credentials of OpenID Connect, as librdkafka gets them by itself."""

import base64
import json
import time
import urllib.parse
import urllib.request

from kafka.net.sasl.oauth import AbstractTokenProvider

from streamem.errors import ConfigError, ConnectError, tell

__all__ = ["ClientCredentials"]

SPARE_SECONDS = 30.0
"""A token is asked for anew so long before it runs out."""


class ClientCredentials(AbstractTokenProvider):  # type: ignore[misc]
    """Asks an identity provider for tokens, and keeps each while it is good.

    Parameters
    ----------
    url : str
        Of the token endpoint.
    client_id, secret : str
    scope : str or None
    """

    def __init__(self, url: str, client_id: str, secret: str, scope: str | None) -> None:
        super().__init__()
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            place = "options.sasl.oauthbearer.token.endpoint.url"
            raise ConfigError(tell(place, found=url, wanted="an http or https URL", do="correct it"))
        self._url, self._id, self._secret, self._scope = url, client_id, secret, scope
        self._token, self._until = "", 0.0

    def token(self) -> str:
        """Return a token that is good now."""
        if time.monotonic() >= self._until:
            body = {"grant_type": "client_credentials"} | ({"scope": self._scope} if self._scope else {})
            login = base64.b64encode(f"{self._id}:{self._secret}".encode()).decode()
            request = urllib.request.Request(  # noqa: S310  the scheme was looked at
                self._url, urllib.parse.urlencode(body).encode(), {"Authorization": f"Basic {login}"}
            )
            try:
                with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
                    found = json.load(answer)
                self._token = str(found["access_token"])
                self._until = time.monotonic() + float(found.get("expires_in", 300)) - SPARE_SECONDS
            except (OSError, ValueError, KeyError) as error:
                do = "look at sasl.oauthbearer.client.id and client.secret, and at the identity provider"
                raise ConnectError(tell(self._url, found=str(error), wanted="a token", do=do), retry=True) from error
        return self._token
