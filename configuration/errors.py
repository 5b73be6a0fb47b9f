from signal import Signals


class UserError(ValueError):
    """A mistake that the user can mend: the message is one line naming the thing, the value and the remedy.

    The command line prints it on stderr and leaves with exit code 2. Line breaks in a value, such as a label, become
    spaces.
    """

    def __init__(self, message: str):
        super().__init__(" ".join(message.splitlines()))


class Interrupted(Exception):
    """Somebody pressed Ctrl-C, or the system asked to end: what was trained is kept.

    The command line prints the line on stderr and leaves with the exit code that shells give the signal.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number
        self.exit_code = 128 + number

    def __str__(self) -> str:
        return (
            f"stopped by {Signals(self.number).name}, and what was trained is kept: the same command goes on with it, "
            "train and demo with --resume"
        )
