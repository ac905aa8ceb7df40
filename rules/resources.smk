# Resources by model size, in portable keys only (gpu, mem_mb, runtime, threads). Cluster words (partition, account, GPU
# model) belong to profiles/. Changing a number here reruns nothing.

from lib.config.appearance import runs_network
from lib.runs.attempts import memory_factor

# size → threads, memory, minutes: as the RF-DETR-Seg launcher of the seed documents states them; `tiny` is for demos and tests.
SIZES = {
    "tiny": {"threads": 1, "mem_mb": 4_000, "runtime": 60},
    "nano": {"threads": 8, "mem_mb": 48_000, "runtime": 8 * 60},
    "small": {"threads": 8, "mem_mb": 48_000, "runtime": 8 * 60},
    "medium": {"threads": 8, "mem_mb": 64_000, "runtime": 12 * 60},
    "large": {"threads": 8, "mem_mb": 64_000, "runtime": 16 * 60},
    "xlarge": {"threads": 8, "mem_mb": 80_000, "runtime": 24 * 60},
    "2xlarge": {"threads": 8, "mem_mb": 80_000, "runtime": 24 * 60},
}


def size_of(wildcards, key):
    return SIZES[STUDY.size_of(wildcards.variant)][key]


def train_threads(wildcards):
    return size_of(wildcards, "threads")


def train_memory(wildcards, attempt):
    """Half as much again for every try of this run that lacked memory."""
    folder = Path(f"results/train/{wildcards.dataset}/{wildcards.variant}/seed={wildcards.seed}")
    return int(size_of(wildcards, "mem_mb") * memory_factor(folder, attempt))


def train_minutes(wildcards):
    return size_of(wildcards, "runtime")


def embed_gpus(wildcards):
    """Built-in encoders need none."""
    return int(runs_network(STUDY.find("featuresets", wildcards.featureset)))


def track_gpus(wildcards):
    """Only a tracker that compares looks by a network needs one."""
    return int(runs_network(STUDY.find("trackers", wildcards.tracker)))


def train_gpus(wildcards):
    return STUDY.gpus_of(wildcards.variant)
