"""One model on one hub: requests, patience, and every failure as one sentence.

A request that may succeed later (429, 5xx, a cut connection) is tried again, after the time the
hub asks for or a growing pause; attempts count anew whenever bytes have arrived.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from parrotlet.core.errors import CheckpointError, ParrotletError, UsageError

ATTEMPTS = 5  # without any progress
PAUSE = 1.0  # seconds after the first failure, twice as long after each further one
LONGEST_PAUSE = 120.0  # seconds; a hub that asks for more is told of instead
TIMEOUT = 30.0  # seconds without an answer
TEMPORARY = (408, 429, 500, 502, 503, 504)


class HubClient:
    """Requests about the model `name` at `revision`; `endpoint` None is huggingface_hub's own."""

    def __init__(self, name: str, revision: str, endpoint: str | None) -> None:
        """UsageError where the package huggingface_hub is missing or the address is none."""
        if endpoint is not None and not endpoint.startswith(("http://", "https://")):
            raise UsageError(f"--endpoint {endpoint} is not an address; it begins with https://")
        try:
            self._hub = importlib.import_module("huggingface_hub")
            self._errors = importlib.import_module("huggingface_hub.errors")
        except ImportError as error:
            raise UsageError(
                "fetching a model by name needs the package huggingface_hub: "
                "pip install 'parrotlet[hub]'"
            ) from error
        # httpx, under whatever name huggingface_hub uses it
        self._http = importlib.import_module(self._errors.HTTPError.__module__.partition(".")[0])
        self._api = self._hub.HfApi(endpoint=endpoint, library_name="parrotlet")
        self.name, self.revision, self.address = name, revision, self._api.endpoint

    def model_info(self) -> Any:
        """huggingface_hub's ModelInfo, with the size and hash of every file."""
        found: list[Any] = []

        def ask() -> None:
            found.append(
                self._api.model_info(
                    self.name, revision=self.revision, files_metadata=True, timeout=TIMEOUT
                )
            )

        try:
            self.until_done(
                attempt=ask, progress=lambda: 0, doing=f"asking {self.address} about {self.name}"
            )
        except (ValueError, TypeError, KeyError) as error:
            raise CheckpointError(
                f"{self.address} does not answer about {self.name} as a hub does: "
                f"{_line(str(error))}; check the name and the address"
            ) from error
        return found[0]

    @contextmanager
    def open(self, commit: str, file: str, start: int) -> Iterator[Any]:
        """The response with a file's bytes from `start` on, or all of them where its status is 200.

        Redirects are followed; the login is not sent to other hosts.
        """
        url = self._hub.hf_hub_url(self.name, file, revision=commit, endpoint=self.address)
        headers = self._hub.utils.build_hf_headers(library_name="parrotlet")
        headers["Accept-Encoding"] = "identity"
        if start:
            headers["Range"] = f"bytes={start}-"
        session = self._hub.get_session()
        with session.stream("GET", url, headers=headers, timeout=TIMEOUT) as response:
            self._hub.utils.hf_raise_for_status(response)
            yield response

    def until_done(
        self, *, attempt: Callable[[], None], progress: Callable[[], int], doing: str
    ) -> None:
        """Call `attempt` until it returns; its error as a sentence once there is no hope.

        `progress` is a number that grows where an attempt has achieved something.
        """
        failures = 0
        while True:
            before = progress()
            try:
                return attempt()
            except (self._errors.HTTPError, ConnectionError) as error:
                if not self._is_temporary(error):
                    raise self._sentence(error, doing) from error
                failures = 1 if progress() > before else failures + 1
                pause = self._pause(error, failures)
                if failures >= ATTEMPTS or pause > LONGEST_PAUSE:
                    raise self._gave_up(error, doing, pause) from error
            time.sleep(pause)

    def _is_temporary(self, error: Exception) -> bool:
        if isinstance(error, self._errors.OfflineModeIsEnabled):
            return False
        http = self._http
        lost = (ConnectionError, http.NetworkError, http.TimeoutException, http.ProtocolError)
        return isinstance(error, lost) or _status(error) in TEMPORARY

    def _pause(self, error: Exception, failures: int) -> float:
        """Seconds to wait: what the hub asks for, if it does."""
        pause: float = PAUSE * 2 ** (failures - 1)
        response = getattr(error, "response", None)
        asked = "" if response is None else response.headers.get("Retry-After", "")
        return max(pause, float(asked)) if asked.isdecimal() else pause

    def _gave_up(self, error: Exception, doing: str, pause: float) -> ParrotletError:
        status = _status(error)
        later = f"in {pause:.0f} seconds" if pause > LONGEST_PAUSE else "later"
        reason = f"it answers {status}" if status else f"{error or type(error).__name__}"
        return CheckpointError(
            f"{doing} failed: {_line(reason)}; run it again {later}, what has arrived is kept"
        )

    def _sentence(self, error: Exception, doing: str) -> ParrotletError:
        """What a refusal means and what to do."""
        kinds, model = self._errors, f"{self.name} at {self.address}"
        if isinstance(error, kinds.GatedRepoError) or _status(error) == 403:
            return CheckpointError(
                f"{model} is gated or forbidden to you; accept its conditions on its page there, "
                "log in with `hf auth login`, and run it again"
            )
        if isinstance(error, kinds.RevisionNotFoundError):
            return CheckpointError(
                f"{model} has no revision {self.revision!r}; choose another --revision"
            )
        if isinstance(error, kinds.RemoteEntryNotFoundError):
            return CheckpointError(
                f"{doing} failed: {self.address} lists the file and does not have it; try another "
                "--revision"
            )
        if isinstance(error, kinds.RepositoryNotFoundError) or _status(error) in (401, 404):
            return CheckpointError(
                f"there is no model {model}, or it is private; check the name, or log in with "
                "`hf auth login`"
            )
        if isinstance(error, kinds.OfflineModeIsEnabled):
            return CheckpointError(
                f"{doing} failed: HF_HUB_OFFLINE forbids it; unset it, or import a folder"
            )
        return CheckpointError(f"{doing} failed: {_line(str(error))}; check the address")


def _status(error: Exception) -> int | None:
    """The HTTP status of an answer; None where none came."""
    status: int | None = getattr(getattr(error, "response", None), "status_code", None)
    return status


def _line(text: str) -> str:
    """The first line of a message that may have several."""
    return text.strip().split("\n")[0].rstrip(".") or "no reason is given"
