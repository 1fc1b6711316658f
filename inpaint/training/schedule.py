"""The schedule of a run: stages of one picture size each, and their text."""

from __future__ import annotations

from dataclasses import dataclass

from inpaint.images import MAX_SQUARE

# Far beyond all use, and below where numbers do not fit any more: a slip of the keyboard is named.
MAX_BATCH_PIXELS = 10_000_000_000
MAX_STEPS = 10**12


@dataclass(frozen=True)
class Stage:
    """A part of the training at one picture size: squares of `size` px, `batch` of them a step.

    Raises:
        ValueError: a number below 1 or absurdly large.
    """

    size: int
    batch: int
    steps: int

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise ValueError(f"a stage's {name} must be at least 1, got {value} in {self}")
        if self.size > MAX_SQUARE or self.steps > MAX_STEPS:
            raise ValueError(f"a stage has at most {MAX_SQUARE} px and {MAX_STEPS:.0e} steps, got {self}")
        if self.pixels > MAX_BATCH_PIXELS:
            raise ValueError(
                f"a batch of {self.pixels / 1e9:.0f} gigapixels is more than {MAX_BATCH_PIXELS / 1e9:.0f}"
            )

    def __str__(self) -> str:
        return f"{self.size}x{self.batch}:{self.steps}"

    @property
    def pixels(self) -> int:
        """Pixels in one batch."""
        return self.batch * self.size**2


@dataclass(frozen=True)
class Schedule:
    """The stages of a run in order, written `128x16:6000,256x8:3000` = size × batch : steps, ...

    Steps are counted over the whole run: optimiser, averages and batches go on from one stage to the next.

    Example:
        >>> schedule = Schedule.parse("128x16:6000,256x8:3000")
        >>> schedule.steps, str(schedule.stages[1])
        (9000, '256x8:3000')
    """

    stages: tuple[Stage, ...]

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """Read a schedule.

        Raises:
            ValueError: the text is none; the message names the wrong part and the form.
        """
        stages = []
        for part in text.split(","):
            try:
                picture, steps = part.split(":")
                size, batch = picture.split("x")
                stages.append(Stage(int(size), int(batch), int(steps)))
            except ValueError as error:
                raise ValueError(
                    f"cannot read stage {part!r} of the schedule {text!r} ({error}): "
                    "write SIZExBATCH:STEPS, for example 128x16:6000,256x8:3000"
                ) from None
        return cls(tuple(stages))

    def __str__(self) -> str:
        return ",".join(map(str, self.stages))

    @property
    def steps(self) -> int:
        """Steps of all stages together."""
        return sum(stage.steps for stage in self.stages)

    def pixels(self, steps: int | None = None) -> int:
        """Return the pixels in the batches of the first `steps` steps, or of all: a measure of the work."""
        left, pixels = self.steps if steps is None else steps, 0
        for stage in self.stages:
            pixels += min(left, stage.steps) * stage.pixels
            left -= min(left, stage.steps)
        return pixels
