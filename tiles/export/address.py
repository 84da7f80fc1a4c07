"""Addresses of files below the target: relative, with `/`, as a static server has them once decoded.

Names of layers, sets and clouds are in them, so every address is looked at before anything is written under it.
"""

from layers.errors import InvalidInput

STATE = ".citytwin-export"
"""Folder of the export's own records below the target."""
MAX_NAME_BYTES = 255
MAX_BYTES = 900
"""Of a whole address: object stores take 1024 with the prefix of the target."""


def checked(address: str) -> str:
    """The address itself. InvalidInput where it could leave the target, or could not be a file's name there."""
    if len(address.encode("utf8", "surrogatepass")) > MAX_BYTES:
        raise InvalidInput(f"The address {address[:60]!r}… has more than {MAX_BYTES} bytes.", "Shorten the name.")
    steps = address.split("/")
    if steps[0] == STATE:
        raise InvalidInput(f"The address {address!r} is kept for the export's own records.", "Rename the layer.")
    for step in steps:
        if step in {"", ".", ".."} or any(ord(sign) < 32 or sign in "\\\x7f" for sign in step):
            raise InvalidInput(f"The address {address!r} cannot be a file's.", "Rename the layer or the set in it.")
        try:
            n_bytes = len(step.encode("utf8"))
        except UnicodeEncodeError as error:
            raise InvalidInput(f"The address {address!r} is no UTF-8.", "Rename the layer or the set in it.") from error
        if n_bytes > MAX_NAME_BYTES:
            raise InvalidInput(f"The name {step[:60]!r}… is longer than {MAX_NAME_BYTES} bytes.", "Shorten it.")
    return address
