"""Registers the nightly run on an existing Prefect server: `python deployments/deploy.py`.

Set PREFECT_API_URL first. Values only; what is registered is said in `flows.serving`. A worker
executes the runs, on the machine that has the lab: `prefect worker start --pool noctuary`.
"""

from flows.serving import register
from noctuary.config import load_settings
from noctuary.lab import Lab, default_lab
from noctuary.night import NightRequest

POOL = "noctuary"


def main() -> None:
    """Register nights of the lab's settings (`[serve]` in its noctuary.toml)."""
    lab = Lab.create_or_open(default_lab())
    settings = load_settings(lab.settings_path)
    served = register(
        NightRequest(lab=str(lab.root), settings=settings, budget_seconds=settings.serve.budget),
        POOL,
    )
    print(f"{served.deployment} is registered; the next night begins {served.next_night}")
    print(f"now, where the lab is: prefect worker start --pool {served.pool}")


if __name__ == "__main__":
    main()
