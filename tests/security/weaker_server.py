"""A server of jobs that may lack layers: `layers.json` in the folder of a job says which.

Run as a script, for a `Launcher`. A layer that is `absent` says that it cannot be applied; a
`hollow` one says that it was, and does nothing. Jobs for the device `auto` are taken for ones
that find a GPU.
"""

import functools
import json
import sys

from noctuary.policy import Layer
from noctuary.sandbox.files import Unconfined
from noctuary.sandbox.layers import LAYERS, Scene
from noctuary.sandbox.server import main

REASON = "this kernel has no such thing"
FILE = "layers.json"


def apply(layer: Layer, scene: Scene) -> None:
    asked = json.loads((scene.folder / FILE).read_text())
    if layer == asked.get("breaks"):
        raise RuntimeError("an error that nobody expects")
    if layer in asked.get("absent", []):
        raise Unconfined(REASON)
    if layer not in asked.get("hollow", []):
        LAYERS[layer](scene)


if __name__ == "__main__":
    sys.stdout.flush()
    main({layer: functools.partial(apply, layer) for layer in LAYERS}, lambda name: name == "auto")
