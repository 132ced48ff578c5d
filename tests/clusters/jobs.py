"""Jobs for the tests of manifests, with words in them that YAML, a shell, Kubernetes and Docker would read as something else."""

from dvlite.clusters.job import ClusterJob

SPEC = "5e" * 32


def job(**fields):
    values = {
        "stage": "train",
        "spec": SPEC,
        "tasks": 42,
        "remote": "s3://bucket/birds",
        "image": "dvlite",
        "secret": "dvlite-remote",
        "parallel": 8,
    }
    return ClusterJob(**{**values, **fields})


EVERY = [
    job(),
    job(
        stage="resize",
        tasks=1,
        cpu=2.5,
        memory_bytes=1 << 33,
        gpu=1,
        endpoint_url="https://s3.example.com:9000",
        region="eu-1",
    ),
    job(stage="A_b@x-1.5", remote='/srv/data $(HOME) $HOME: it\'s #1 {x} "q"', is_folder=True, secret="volume-7"),
    job(stage="ml:train", remote="s3://b/it's $(X) ${Y}: *", image="registry.example.com/a/b@sha256:" + "a" * 64),
]


def filled_in(word):
    """Returns a word as Kubernetes, which knows no variable of it, or Docker makes it."""
    return word.replace("$$", "$")
