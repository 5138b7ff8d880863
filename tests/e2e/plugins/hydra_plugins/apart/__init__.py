"""A launcher for tests: each point runs in a process of its own, with an output of its own."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, run_job
from hydra.plugins.launcher import Launcher
from omegaconf import open_dict

ConfigStore.instance().store(
    group="hydra/launcher",
    name="apart",
    node={
        "_target_": "hydra_plugins.apart.Apart",
        # As submitit's: nothing but `HydraConfig` can resolve it.
        "folder": "${hydra.sweep.dir}/.apart",
    },
    provider="apart",
)


class Apart(Launcher):
    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def setup(self, **given: Any) -> None:
        self.given = given

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> list[JobReturn]:
        self.folder.mkdir(parents=True)
        numbered = enumerate(job_overrides, start=initial_job_idx)
        return [self._in_a_process(number, list(one)) for number, one in numbered]

    def _in_a_process(self, number: int, overrides: list[str]) -> JobReturn:
        ours, theirs = multiprocessing.Pipe(duplex=False)
        if not os.fork():
            log = os.open(self.folder / f"{number}.log", os.O_CREAT | os.O_WRONLY)
            os.dup2(log, 1)
            os.dup2(log, 2)
            theirs.send(self._run(number, overrides))
            os._exit(0)
        theirs.close()
        try:
            returned: JobReturn = ours.recv()
        except EOFError:
            raise RuntimeError(f"the process of point {number} was killed") from None
        return returned

    def _run(self, number: int, overrides: list[str]) -> JobReturn:
        loader = self.given["hydra_context"].config_loader
        config = loader.load_sweep_config(self.given["config"], overrides)
        # As every launcher of Hydra's does.
        with open_dict(config):
            config.hydra.job.id, config.hydra.job.num = f"job_id_{number}", number
        return run_job(
            hydra_context=self.given["hydra_context"],
            task_function=pickle.loads(pickle.dumps(self.given["task_function"])),
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
