"""streamem learns hidden-variable models from streams by online EM.

Nothing is imported here, so that ``streamem --help`` is quick. Top-down it is the story of a record: `streamem.cli`,
`streamem.config`, `streamem.connect`, `streamem.stream`; bottom-up that of the mathematics: `streamem.em`.
"""
