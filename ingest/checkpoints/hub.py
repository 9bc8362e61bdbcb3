"""One question to the hub, without the repetitions by which a download waits for a network that is not there."""

from typing import Literal, NamedTuple

SECONDS = 5.0
"""How long the hub is waited for before it counts as out of reach."""


class HubAnswer(NamedTuple):
    """What the hub says of a name."""

    state: Literal["there", "absent", "unreachable", "unknown"]
    """unknown: it answers, but not now, or not to everybody; the download says what is to be done."""
    model_type: str | None = None
    reason: str = ""
    """Why it cannot be reached."""
    commit: str | None = None
    """Which the revision is now, if the hub says."""


def ask_hub(kind: Literal["model", "dataset"], name: str, revision: str | None) -> HubAnswer:
    """Whether there is such a model or data set on the hub, and of which architecture a model is, if the hub knows."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    if constants.HF_HUB_OFFLINE:
        return HubAnswer("unreachable", reason="HF_HUB_OFFLINE is set")
    try:
        info = HfApi().repo_info(name, repo_type=kind, revision=revision, timeout=SECONDS)
    except GatedRepoError:
        return HubAnswer("unknown")
    except (RepositoryNotFoundError, RevisionNotFoundError):
        return HubAnswer("absent")
    except HfHubHTTPError:
        return HubAnswer("unknown")
    except Exception as error:  # the HTTP library below has errors of its own
        return HubAnswer("unreachable", reason=str(error))
    model_type = (getattr(info, "config", None) or {}).get("model_type")
    return HubAnswer("there", model_type=model_type, commit=getattr(info, "sha", None))
