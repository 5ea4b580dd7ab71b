"""The one exception that is meant for the person at the keyboard."""


class UserError(Exception):
    """Something a user can mend: bad input, a wrong setting, a missing file.

    The message is one line that says what was wrong, in which file, line or key, and what to do. The command line
    prints it without a traceback and exits with status 2.
    """
