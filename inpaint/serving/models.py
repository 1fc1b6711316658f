"""Which models there are, and what they are called for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from inpaint.weights import find_model, installed_models

from .errors import ServiceError

DEFAULT_MODEL = "pconv-carafe"

_TITLES = {"pconv-carafe": "Standard", "pconv-carafe-sharp": "Sharp (first release)"}


@dataclass(frozen=True)
class ServedModel:
    """A model that clients may name.

    Attributes:
        name: what they name it by.
        title: what people call it.
        description: one sentence.
        source: what `Inpainter.from_pretrained` takes; clients never name files themselves.
        scores: measured figures by name.
    """

    name: str
    title: str
    description: str
    source: str
    scores: dict[str, float]


class Models:
    """The models that the service offers: the installed ones, and those that the administrator added.

    Args:
        added: folders, weights files or hub ids.
        default: the model that is used where a client names none; the first added one, if there is any.

    Raises:
        WeightsError: an added model cannot be found.
        ValueError: there is no model at all, or two have one name.
    """

    def __init__(self, added: Sequence[str] = (), default: str | None = None) -> None:
        models = []
        installed = {model.name for model in installed_models()}
        for source in added:
            if source in installed:
                continue
            path = find_model(source)
            name = Path(source).stem if path == Path(source) else Path(source).name
            models.append(ServedModel(name, name, "Added by the administrator of this server.", source, {}))
        models += [
            ServedModel(
                model.name, _TITLES.get(model.name, model.name), model.description, model.name, model.scores
            )
            for model in installed_models()
        ]
        self._by_name = {model.name: model for model in models}
        if not models or len(self._by_name) < len(models):
            raise ValueError(
                "two models have the same name; rename a folder" if models else "no model is installed"
            )
        wanted = default or (Path(added[0]).name if added else DEFAULT_MODEL)
        self.default = wanted if wanted in self._by_name else models[0].name

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self._by_name.values())

    def find(self, name: str | None) -> ServedModel:
        """Return a model by name, the default where that is None.

        Raises:
            ServiceError: (422) there is none of this name; the message lists those that there are.
        """
        model = self._by_name.get(name or self.default)
        if model is None:
            raise ServiceError(422, f"There is no such model; this server has {', '.join(self._by_name)}.")
        return model
