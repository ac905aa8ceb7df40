"""A cluster of one machine for tests: every job is a new Snakemake, started through the shells of sbatch --wrap.

Quoting is that of snakemake-executor-plugin-slurm: the job's command stands in double quotes, only `"` in it escaped.
"""

from __future__ import annotations

import subprocess
from collections.abc import AsyncGenerator

from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface
from snakemake_interface_executor_plugins.settings import CommonSettings

common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    pass_default_storage_provider_args=False,
    pass_default_resources_args=False,
    auto_deploy_default_storage_provider=False,
    spawned_jobs_assume_shared_fs=True,
    init_seconds_before_status_checks=1,
)


class Executor(RemoteExecutor):
    """Starts jobs in the background and looks whether they have ended."""

    def run_job(self, job: JobExecutorInterface) -> None:
        command = self.format_job_exec(job).replace('"', '\\"')
        process = subprocess.Popen(["bash", "-c", f'sh -c "{command}"'])
        self.report_job_submission(SubmittedJobInfo(job, external_jobid=str(process.pid), aux={"process": process}))

    async def check_active_jobs(self, active_jobs: list[SubmittedJobInfo]) -> AsyncGenerator[SubmittedJobInfo, None]:
        for info in active_jobs:
            code = info.aux["process"].poll()
            if code is None:
                yield info
            elif code == 0:
                self.report_job_success(info)
            else:
                self.report_job_error(info, msg=f"ended with {code}")

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        for info in active_jobs:
            info.aux["process"].terminate()
