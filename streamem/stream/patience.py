"""How long a failed connection is tried again."""

import logging
from dataclasses import dataclass

from streamem.stream.protocol import World

__all__ = ["Patience"]

LOG = logging.getLogger("streamem")

SHORTEST_SECONDS, LONGEST_SECONDS = 0.2, 5.0
"""Of the pauses between attempts, each twice as long as the one before."""


@dataclass
class Patience:
    """Counts from the first failure after the last progress.

    Parameters
    ----------
    world : World
    seconds : float
        After which it is at an end.
    """

    world: World
    seconds: float
    records: int = -1
    since: float = 0.0
    pause: float = SHORTEST_SECONDS

    def wait(self, error: Exception, records: int) -> bool:
        """Wait a while and return whether there should be another attempt; a line in the log says so.

        Parameters
        ----------
        error : Exception
            What failed.
        records : int
            Done for good so far: with more of them than at the last failure counting begins anew.
        """
        now = self.world.monotonic()
        if records > self.records:
            self.records, self.since, self.pause = records, now, SHORTEST_SECONDS
        if now - self.since >= self.seconds:
            return False
        LOG.warning("%s Going on from the last checkpoint, after %s records.", error, f"{records:,}")
        pause, self.pause = self.pause, min(2.0 * self.pause, LONGEST_SECONDS)
        return not self.world.wait(pause)
