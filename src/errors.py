"""The errors that a user of the package can mend."""


class UserError(Exception):
    """A mistake that its reader can mend: names the key, its value and the remedy, in one line.

    The command line prints it without a traceback and exits with status 2.
    """


class DivergenceError(UserError):
    """A loss, a value or a policy became NaN or infinite; training stops, the last checkpoint stays."""
