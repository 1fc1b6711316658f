"""Plug-ins: upsamplers, networks and loss terms that other packages and files add under names of their own.

A plug-in is a function that takes a `Registry` and adds to it. It is named on the command line,
`--plugin my_module:register`, or installed: a package offers the function in the group of entry points
`GROUP`, once under the name of each part that it adds, and is imported when such a name is asked for.

A weights file never makes the program import what it says. It holds names of parts; a name is looked up among
the parts that are there, then among the entry points that are installed, and else it is an error that says
which plug-in the file was made with. docs/plugins.md has an example of each kind.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import importlib.util
import inspect
import json
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import Tensor

    from inpaint.layers import Upsampler
    from inpaint.networks import Network

GROUP = "inpaint.plugins"
"""The group of entry points under which packages offer plug-ins, by the names of what these add."""

Kind = Literal["upsampler", "network", "loss"]
"""What a plug-in can add."""

_WORD = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", re.ASCII)
_NAMES = {
    # The name of a network or an upsampler is a value on the command line, that of a loss term a flag.
    "upsampler": re.compile(r"[a-z][a-z0-9_-]{0,63}"),
    "network": re.compile(r"[a-z][a-z0-9_-]{0,63}"),
    "loss": re.compile(r"[a-z][a-z0-9_]{0,63}"),
}
_LONGEST = 200  # characters of what a file says of a plug-in


class PluginError(ValueError):
    """A plug-in that is not there, cannot be loaded, or adds what cannot be added; the message says which."""


@dataclass(frozen=True)
class Plugin:
    """A plug-in that was loaded.

    Attributes:
        name: `module:object`, or the name of its entry point.
        package: what pip calls its package; empty where it is a file or not known.
        version: of the package or the module; empty where it is not known.
    """

    name: str
    package: str = ""
    version: str = ""


class Registry:
    """What a plug-in's function is given: its methods add the parts, all of them or, after an error, none.

    A name that is there already is refused. In names of upsamplers and networks there may be small letters,
    digits, `-` and `_`; in those of loss terms no `-`.
    """

    def __init__(self) -> None:
        self._added: dict[tuple[Kind, str], Callable[[], None]] = {}

    def upsampler(self, name: str, factory: Callable[..., Upsampler]) -> None:
        """Add an upsampler, which every network can then be given.

        Args:
            name: for `--upsampler` and for `inpaint.layers.build_upsampler`.
            factory: a subclass of `inpaint.layers.Upsampler`, or a function that returns one; called with the
                channels and the factor σ. Where it has parameters `compressed_channels`, `up_kernel`,
                `encoder_kernel` or `groups`, the settings of these names are passed on.

        Raises:
            PluginError: the name is taken or no name, or the factory cannot be called so.
        """
        from inpaint.layers import UPSAMPLERS, Upsampler

        if isinstance(factory, type) and not issubclass(factory, Upsampler):
            raise PluginError(
                f"upsampler {name}: {factory.__name__} is no subclass of inpaint.layers.Upsampler"
            )
        try:
            inspect.signature(factory).bind(1, 2)
        except TypeError as error:
            raise PluginError(
                f"upsampler {name}: cannot be called with channels and scale ({error})"
            ) from error
        self._add("upsampler", name, lambda: UPSAMPLERS.update({name: factory}))

    def network(self, name: str, network: Callable[[Any], Network], config: type[Any]) -> None:
        """Add a network.

        Args:
            name: for `--network` and for the entry `network` of a configuration.
            network: a subclass of `inpaint.networks.Network`, called with a `config`. Its own `config` is
                `{"network": name, **settings}`, in JSON, with what is needed to build it again.
            config: a dataclass of its settings, which all have defaults.

        Raises:
            PluginError: the name is taken or no name, or config is no dataclass with defaults.
        """
        from inpaint.networks import CONFIGS, NETWORKS

        if not (isinstance(config, type) and dataclasses.is_dataclass(config)):
            raise PluginError(f"network {name}: its config must be a dataclass, not {config!r}")
        try:
            config()
        except TypeError as error:
            raise PluginError(f"network {name}: every setting needs a default ({error})") from error

        def add() -> None:
            NETWORKS[name] = (network, config)
            CONFIGS[name] = {"network": name}

        self._add("network", name, add)

    def loss(
        self, name: str, term: Callable[[Tensor, Tensor, Tensor], Tensor], help: str, weight: float = 0.0
    ) -> None:
        """Add a loss term.

        Args:
            name: its weight on the command line is `--loss-NAME`, and its curve `loss/NAME`.
            term: is given the prediction [N, 3, H, W], the image [N, 3, H, W] and the mask [N, 1, H, W],
                1 = hole, all float32, and returns a scalar: a mean over the images, as all terms are.
            help: one line for `--help`.
            weight: where the command line has none. With 0 the term is not computed.

        Raises:
            PluginError: the name is taken or no name, or the weight is none.
        """
        from inpaint.losses import CUSTOM_TERMS, CustomTerm

        if not 0 <= weight < float("inf"):
            raise PluginError(f"loss {name}: its weight must be finite and not negative, got {weight}")
        self._add("loss", name, lambda: CUSTOM_TERMS.update({name: CustomTerm(term, help, weight)}))

    def _add(self, kind: Kind, name: str, add: Callable[[], None]) -> None:
        if not (isinstance(name, str) and _NAMES[kind].fullmatch(name)):
            raise PluginError(
                f"{kind} {name!r}: a name has small letters, digits and _, and begins with a letter"
            )
        if name in _known(kind) or (kind, name) in self._added:
            raise PluginError(f"{kind} {name}: there is one of this name already; take another name")
        self._added[kind, name] = add

    def _commit(self, plugin: Plugin) -> None:
        for part, add in self._added.items():
            add()
            _ADDED[part] = plugin


_ADDED: dict[tuple[Kind, str], Plugin] = {}
_LOADED: dict[str, Plugin] = {}
_FUNCTIONS: list[Callable[[Registry], None]] = []


def add_plugin_flag(parser: argparse._ActionsContainer) -> None:
    """Give a parser the flag `--plugin`, whose values `load_plugins` takes."""
    parser.add_argument("--plugin", action="append", default=[], metavar="MODULE:OBJECT", help=FLAG_HELP)


FLAG_HELP = (
    "load a plug-in with upsamplers, networks or loss terms: a function of a module in this folder or on "
    "PYTHONPATH, or the name of an installed one; may be given again"
)


def load_plugins(words: Iterable[str]) -> None:
    """Load plug-ins; those that are loaded already are passed over.

    Args:
        words: `module:object`, where the module lies in the working folder or on Python's path, or names of
            installed plug-ins.

    Raises:
        PluginError: one cannot be found or loaded; what it would add is not added.
    """
    for word in words:
        if word not in _LOADED:
            _LOADED[word] = _load_module(word) if ":" in word else _load_point(_installed(word))


def check_plugins(words: Iterable[str]) -> None:
    """Check, importing nothing of them, that plug-ins are there.

    Raises:
        PluginError: one is not.

    >>> check_plugins(["no_such_module:register"])
    Traceback (most recent call last):
    inpaint.plugins.PluginError: plug-in no_such_module:register: there is no module no_such_module in this \
folder or on PYTHONPATH
    """
    for word in words:
        if ":" not in word:
            _installed(word)
            continue
        if not _WORD.fullmatch(word):
            raise PluginError(f"plug-in {word}: expected MODULE:OBJECT, such as my_module:register")
        _see_working_folder()
        top = word.partition(":")[0].partition(".")[0]
        if top not in sys.modules and importlib.util.find_spec(top) is None:
            raise PluginError(f"plug-in {word}: there is no module {top} in this folder or on PYTHONPATH")


def load_installed(kind: Kind, name: str) -> None:
    """Load the installed plug-in that has the name of a part, unless the part is there already.

    Where there is none nothing happens: who looks the part up says that it is unknown.

    Raises:
        PluginError: it cannot be loaded.
    """
    if name not in _known(kind) and entry_points(group=GROUP, name=name):
        load_plugins([name])


def load_parts(config: Any, recorded: str = "", losses: Iterable[str] = ()) -> None:
    """Load what is installed of the parts that a network's configuration names, and of loss terms.

    Args:
        config: as `inpaint.networks.build_network` takes it; may come from a file of unknown origin.
        recorded: what the file says of its plug-ins, see `describe_plugins`. It is only repeated.
        losses: names of loss terms.

    Raises:
        PluginError: an installed one cannot be loaded, or a part is not there that the file has recorded a
            plug-in of; the message says which, and what to do.
    """
    plugins = dict(_recorded(recorded))
    for kind, name in _parts(config, losses):
        load_installed(kind, name)
        if name in _known(kind) or (kind, name) not in plugins:
            continue
        plugin = plugins[kind, name]
        package = f" of the package {' '.join(filter(None, (plugin.package, plugin.version)))}"
        raise PluginError(
            f"the {kind} {name} is missing: it was made with the plug-in {plugin.name}"
            f"{package if plugin.package else ''}, which is neither loaded nor installed; if you trust it, "
            f"name it with --plugin {plugin.name}, or install "
            f"{f'the package {plugin.package}' if plugin.package else f'a package that offers {name}'}"
        )


def describe_plugins(config: Mapping[str, Any], losses: Iterable[str] = ()) -> str:
    """Return, as JSON, the plug-ins that the parts of a network and the loss terms are of; empty for none.

    >>> describe_plugins({"network": "GlobalLocal", "upsampler": "deconv"})
    ''
    """
    records = [
        {"adds": f"{kind} {name}", **dataclasses.asdict(_ADDED[kind, name])}
        for kind, name in _parts(config, losses)
        if (kind, name) in _ADDED
    ]
    return json.dumps(records) if records else ""


def _recorded(text: str) -> Iterator[tuple[tuple[Kind, str], Plugin]]:
    """Read what `describe_plugins` wrote; what is not of its form is passed over."""
    try:
        records = json.loads(text) if text else []
    except (ValueError, RecursionError):
        return
    for record in records if isinstance(records, list) else ():
        if not isinstance(record, dict):
            continue
        said = [record.get(key, "") for key in ("adds", "name", "package", "version")]
        if all(isinstance(value, str) and len(value) <= _LONGEST for value in said):
            kind, _, name = said[0].partition(" ")
            if kind in _NAMES:
                yield (kind, name), Plugin(*said[1:])


def _parts(config: Any, losses: Iterable[str] = ()) -> list[tuple[Kind, str]]:
    """Return the network and the upsamplers that a configuration names, by the keys' ends, and the losses."""
    found: list[tuple[Kind, str]] = [("loss", name) for name in losses]
    for key, value in config.items() if isinstance(config, Mapping) else ():
        if isinstance(value, str) and key == "network":
            found.append(("network", value))
        elif isinstance(value, str) and str(key).endswith("upsampler"):
            found.append(("upsampler", value))
    return found


def _known(kind: Kind) -> Collection[str]:
    """Return the names that are taken."""
    # Here, so that a program that has no plug-ins does not load torch for them.
    if kind == "upsampler":
        from inpaint.layers import UPSAMPLERS

        return UPSAMPLERS
    if kind == "network":
        from inpaint.networks import CONFIGS, NETWORKS

        return {*NETWORKS, *CONFIGS}
    from inpaint.losses import CUSTOM_TERMS, LossWeights

    return {*CUSTOM_TERMS, *(spec.name for spec in dataclasses.fields(LossWeights)), "total", "adversarial"}


def _load_module(word: str) -> Plugin:
    check_plugins([word])
    module_name, _, path = word.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        top = sys.modules[module_name.partition(".")[0]]
        for name in path.split("."):
            found = getattr(found, name)
    except Exception as error:  # whatever the plug-in's own code raises
        raise _cannot_load(word, error) from error
    version = getattr(top, "__version__", "")
    return _register(found, Plugin(word, version=version if isinstance(version, str) else ""))


def _load_point(point: EntryPoint) -> Plugin:
    try:
        found = point.load()
    except Exception as error:  # whatever the plug-in's own code raises
        raise _cannot_load(point.name, error) from error
    package = point.dist
    plugin = Plugin(point.name, package.name, package.version) if package else Plugin(point.name)
    return _register(found, plugin)


def _installed(name: str) -> EntryPoint:
    points = list(entry_points(group=GROUP, name=name))
    if not points:
        names = sorted({point.name for point in entry_points(group=GROUP)})
        raise PluginError(
            f"plug-in {name}: none of this name is installed ({', '.join(names) or 'there are none'}); "
            "give MODULE:OBJECT for one that is a file"
        )
    if len({point.value for point in points}) > 1:
        packages = ", ".join(sorted(point.dist.name for point in points if point.dist))
        raise PluginError(f"plug-in {name}: several packages offer it ({packages}); uninstall all but one")
    return points[0]


def _register(function: Any, plugin: Plugin) -> Plugin:
    if function in _FUNCTIONS:  # by another name
        return plugin
    if not callable(function):
        raise PluginError(f"plug-in {plugin.name}: is no function that takes a registry, but {function!r}")
    registry = Registry()
    try:
        function(registry)
    except Exception as error:  # whatever the plug-in's own code raises
        raise _cannot_load(plugin.name, error) from error
    registry._commit(plugin)
    _FUNCTIONS.append(function)
    return plugin


def _cannot_load(word: str, error: Exception) -> PluginError:
    kind = "" if isinstance(error, PluginError) else f"{type(error).__name__}: "
    return PluginError(f"plug-in {word}: cannot be loaded ({kind}{error})")


def _see_working_folder() -> None:
    """Let modules be found in the working folder, after all other places."""
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)
