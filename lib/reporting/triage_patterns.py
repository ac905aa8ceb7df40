"""Texts by which failures are told apart: a table of patterns, from the errors that torch, Slurm, bash, Python, our own
programs, httpx, requests and the Hub really print. Not here: how they are weighed (triage.py).
"""

from __future__ import annotations

import re

GPU_MEMORY, HOST_MEMORY, TIME_LIMIT, NODE = "GPU memory", "host memory", "time limit", "node"
DIVERGED, DATA, CONFIG, LICENCE, NETWORK = "diverged", "data", "config", "licence", "network"
DISK, STALL, CANCELLED, PREEMPTED = "disk", "stall", "cancelled", "preempted"
KILLED, REFUSED, UNKNOWN = "killed", "sbatch refused", "unknown"

STATEMENT, ERROR, TRACE = 3, 2, 1
"""Ranks: says the cause; an error line whose words tell it; what many causes leave behind."""

_TABLE: tuple[tuple[str, str, int], ...] = (
    # GPU memory: torch, cuBLAS, our retry of several ranks
    (r"(?:CUDA|HIP|MPS backend) out of memory", GPU_MEMORY, STATEMENT),
    (r"CUDA error: out of memory|cudaErrorMemoryAllocation|CU(?:BLAS|DNN)_STATUS_ALLOC_FAILED", GPU_MEMORY, STATEMENT),
    (r"rank \d+ ran out of memory", GPU_MEMORY, STATEMENT),
    (r"Failed to allocate memory for requested buffer", GPU_MEMORY, STATEMENT),
    # host memory: Slurm, the kernel, Python, numpy, torch, loaders
    (r"exceeded (?:\w+ )?memory limit|Exceeded (?:job|step) memory limit", HOST_MEMORY, STATEMENT),
    (r"oom[-_ ]kill|cgroup out-of-memory handler|Out of memory: Killed process", HOST_MEMORY, STATEMENT),
    (r"task \d+: Out Of Memory", HOST_MEMORY, STATEMENT),
    (r"MemoryError(?::|$)|Cannot allocate memory|std::bad_alloc|not enough memory: you tried", HOST_MEMORY, STATEMENT),
    (r"Unable to allocate [\d.]+ [KMGT]iB for an array", HOST_MEMORY, STATEMENT),
    (r"worker \(pid(?:\(s\))? [\d, ]+\) (?:is killed by signal: (?:Killed|Bus error)|exited unexpectedly)", HOST_MEMORY,
     STATEMENT),
    (r"insufficient shared memory|a worker (?:was killed, mostly|died) for want of", HOST_MEMORY, STATEMENT),
    (r"/dev/shm: .* need", HOST_MEMORY, STATEMENT),
    (r"(?:^|\s)\d+ Killed\b|^Killed$|: Killed$|exit(?:ed with)?(?: non-zero exit)?(?: code| status) 137\b"
     r"|died with <Signals\.SIGKILL|exitcode\s*: -9\b", HOST_MEMORY, TRACE),
    # Slurm: time, preemption, node
    (r"DUE TO TIME LIMIT|the time budget is used up|DUE TO DEADLINE", TIME_LIMIT, STATEMENT),
    (r"DUE TO (?:PREEMPTION|JOB REQUEUE)", PREEMPTED, STATEMENT),
    (r"stopped at (?:step|iteration) \d+ of \d+: signal \w+;", PREEMPTED, ERROR),
    (r"DUE TO NODE FAIL|error: Node failure on|Aborting, step node failure|Node \S+ not responding", NODE, STATEMENT),
    (r"uncorrectable (?:NVLink|ECC) error|ECC error encountered|has fallen off the bus|GPU is lost", NODE, STATEMENT),
    (r"no CUDA-capable device is detected|CUDA driver initialization failed|CUDA-capable device\(s\) is/are busy", NODE,
     STATEMENT),
    # Slurm does not take the job
    (r"sbatch: error:|SLURM sbatch failed", REFUSED, STATEMENT),
    # hanging: our guard, NCCL, gloo
    (r"nothing has finished for [\d.]+ s \(running\.stall_seconds", STALL, STATEMENT),
    (r"Watchdog caught collective operation timeout|Timed out waiting \d+ms for \w+ operation", STALL, STATEMENT),
    # no number
    (r"\bdiverged at step \d+|loss is (?:nan|inf)\b|Loss is (?:nan|inf), stopping", DIVERGED, STATEMENT),
    (r"FloatingPointError|contained (?:nan|inf|non-finite)|returned nan values in its", DIVERGED, STATEMENT),
    # disk
    (r"the disk is full|No space left on device|Disk quota exceeded|\bENOSPC\b", DISK, STATEMENT),
    (r"the disk reports an error|Input/output error|Read-only file system|Stale file handle|cannot be written \(",
     DISK, STATEMENT),
    # licence: the Hub, our downloads, plain HTTP
    (r"serves a web page.*not the file|gated repo|Access to model .* is restricted", LICENCE, STATEMENT),
    (r"must be authenticated to access|Cannot access gated", LICENCE, STATEMENT),
    (r"accept the (?:licen[cs]e|terms|conditions)|licen[cs]e (?:agreement|must be accepted|was not accepted)", LICENCE,
     STATEMENT),
    (r"\b(?:401|403)\b.{0,40}(?:Unauthorized|Forbidden|Client Error)|HTTP(?: status)? (?:401|403)\b|answers? (?:401|403)\b",
     LICENCE, STATEMENT),
    # network: httpx, requests, urllib, git, our downloads
    (r"(?:httpx|httpcore|requests\.exceptions)\.\w*(?:Connect|Timeout|ReadError|Protocol|ProxyError|SSLError)\w*", NETWORK,
     STATEMENT),
    (r"Max retries exceeded with url|Temporary failure in name resolution|Name or service not known", NETWORK, STATEMENT),
    (r"nodename nor servname provided|Could not resolve host|Network is unreachable|No route to host", NETWORK, STATEMENT),
    (r"https?://\S+: (?:Connect|Read|Write|Pool|Remote|Proxy|Network)\w*(?:Error|Timeout)", NETWORK, STATEMENT),
    (r"\b50[0234]\b.{0,30}(?:Server Error|Bad Gateway|Service Unavailable|Gateway Time)|HTTP 5\d\d\b", NETWORK, STATEMENT),
    (r"[Cc]ouldn't connect to 'https?://", NETWORK, STATEMENT),
    (r"urllib\.error\.URLError|ConnectTimeout|Connection (?:reset by peer|refused|timed out|aborted)", NETWORK, ERROR),
    # settings: our programs, pydantic, argparse
    (r"lib\.config\.base\.ConfigError|validation errors? for \w+|error: (?:argument|unrecognized arguments)|the following "
     r"arguments are required", CONFIG, ERROR),
    (r"^\S*: unknown key '", CONFIG, ERROR),
    (r"^error: .*(?:unknown (?:key|variant|task|tracker|detector|dataset|arm|metric)|did you mean|is required and missing"
     r"|must be (?:a |an |at |greater|less|above|one of|\d|'))", CONFIG, ERROR),
    (r"^error: (?:--?[a-z]|(?:training|trainings|variants|arms|datasets|detectors|trackers|shardsets|boards|predict"
     r"|evaluate|export|running|limits|weights|tta)\.)\S*:? ", CONFIG, ERROR),
    # data: our programs, pyarrow, images, shards
    (r"lib\.files\.DataError|ArrowInvalid|UnidentifiedImageError|BadZipFile|tarfile\.ReadError", DATA, ERROR),
    (r"(?i:error).*\b(?:is|are) (?:cut|damaged|missing|corrupt)\b|damaged (?:image|or no archive|\()", DATA, ERROR),
    (r"cut image|not valid JSON|not a readable|HeaderTooLarge", DATA, ERROR),
    (r"Invalid data found when processing|failed reading zip archive", DATA, ERROR),
    (r"FileNotFoundError|file not found|No such file or directory|its sha256 is not", DATA, ERROR),
    (r"files could not be had|Missing(?:Input|Output)Exception", DATA, ERROR),
    (r"^error: \S*/\S+", DATA, TRACE),
    # ended from outside
    (r"\*\*\* (?:JOB|STEP) \S+ ON \S+ CANCELLED AT|KeyboardInterrupt|scancel", CANCELLED, ERROR),
    (r"(?:^|\s)Terminated$|SIGTERM|SIGINT|task \d+: Terminated|exit(?: code| status) (?:143|130)\b", CANCELLED, TRACE),
)  # fmt: skip
PATTERNS = tuple((re.compile(text), cause, rank) for text, cause, rank in _TABLE)
"""(pattern of one line, cause, rank); of a line the first pattern that matches counts."""
