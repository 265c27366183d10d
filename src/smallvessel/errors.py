"""Errors that a user can act on: each says what was found, what was expected and what to do."""


class SmallvesselError(Exception):
    """Base of every error that smallvessel raises on purpose.

    Parameters
    ----------
    found : str
        What was found, with the file, row or value at fault.
    expected : str
        What was expected instead.
    remedy : str
        What the user can do about it.
    """

    def __init__(self, found: str, expected: str, remedy: str) -> None:
        self.found = found
        self.expected = expected
        self.remedy = remedy
        super().__init__(f"Found: {found}. Expected: {expected}. To do: {remedy}.")

    def __reduce__(self) -> tuple[type["SmallvesselError"], tuple[str, str, str]]:
        return type(self), (self.found, self.expected, self.remedy)


class InputError(SmallvesselError):
    """A file, folder, table or option that cannot be used."""


class GeometryError(SmallvesselError):
    """An orientation, extent, grid or transform that cannot be right."""


class ModelError(SmallvesselError):
    """Weights or a model card that are missing, damaged or do not fit."""
