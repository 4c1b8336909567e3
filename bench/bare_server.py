"""A server of jobs without a sandbox, to compare with: `sandbox.py` starts it."""

import functools

from noctuary.policy import Layer
from noctuary.sandbox.files import Unconfined
from noctuary.sandbox.layers import LAYERS, Scene
from noctuary.sandbox.server import main


def leave_out(layer: Layer, scene: Scene) -> None:
    raise Unconfined(f"{layer} is left out")


if __name__ == "__main__":
    main({layer: functools.partial(leave_out, layer) for layer in LAYERS})
