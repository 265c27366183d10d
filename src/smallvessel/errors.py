"""Errors that a user can act on: each says what was found, what was expected and what to do."""


def make_printable(text: str) -> str:
    r"""Spell out the bytes of a file's name that are not UTF-8, such as ``\udce4``, which cannot be printed or written.

    Old archives hold such names. All other text stays as it is.
    """
    return text.encode(errors="backslashreplace").decode()


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
        self.found = make_printable(found)
        self.expected = make_printable(expected)
        self.remedy = make_printable(remedy)
        super().__init__(f"Found: {self.found}. Expected: {self.expected}. To do: {self.remedy}.")

    def __reduce__(self) -> tuple[type["SmallvesselError"], tuple[str, str, str]]:
        return type(self), (self.found, self.expected, self.remedy)


class InputError(SmallvesselError):
    """A file, folder, table or option that cannot be used."""


class GeometryError(SmallvesselError):
    """An orientation, extent, grid or transform that cannot be right."""


class ModelError(SmallvesselError):
    """Weights or a model card that are missing, damaged or do not fit."""
