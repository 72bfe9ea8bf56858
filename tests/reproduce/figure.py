"""A published figure, or a goal, and what we find."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One line of the report.

    Parameters
    ----------
    name : str
    ours, published : float
    tolerance : float
        Largest difference that the printed digits, or the goal, allow.
    at_least : bool
        Better than published is as good.
    note : str
        Printed behind the line.
    """

    name: str
    ours: float
    published: float
    tolerance: float
    at_least: bool = False
    note: str = ""

    @property
    def holds(self) -> bool:
        difference = self.ours - self.published
        return difference >= -self.tolerance and (self.at_least or difference <= self.tolerance)

    def __str__(self) -> str:
        verdict = "ok" if self.holds else "SHORT"
        difference = self.ours - self.published
        line = f"{self.name:<52} {self.ours:>15.6f} {self.published:>15.6f} {difference:>+13.2e} {self.tolerance:>9.1e}"
        return f"{line}  {verdict}{'  ' if self.note else ''}{self.note}"
