"""Who may enter, and what there is: IAM, global search, global catalog, instances."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Mapping
from typing import Any

from tests.emulator.errors import RefusedError

TOKEN = "emulated-api-key-6f0c2f4d"  # the key the emulator's IAM knows; it opens nothing else
ACCOUNT = "a1b2c3d4e5f60718293a4b5c6d7e8f90"
INSTANCE_NAME = "my-instance"
OTHER_INSTANCE_NAME = "my-premium-instance"


def crn(guid: str) -> str:
    """A Cloud Resource Name as the service has them."""
    return f"crn:v1:bluemix:public:quantum-computing:us-east:a/{ACCOUNT}:{guid}::"


INSTANCE = crn("0c9d5c1e-3f0b-4a0e-9a39-2f7d1c6a5b40")
OTHER_INSTANCE = crn("7be2a1f0-8c1d-45a6-b2de-94f3e5d6c7a8")
PLANS = {
    INSTANCE: (INSTANCE_NAME, "plan-open", "Open", "Free"),
    OTHER_INSTANCE: (OTHER_INSTANCE_NAME, "plan-premium", "Premium", "Subscription"),
}
TOKEN_LIFETIME_S = 3600
DEFAULT_QUOTA_S = 600 * 60


class Tokens:
    """The access tokens that are valid: signed (JWT), of the kind IAM hands out.

    Attributes:
        lifetime_s: What new tokens say of themselves. The client fetches another one 10 s before.
    """

    def __init__(self) -> None:
        self.lifetime_s = TOKEN_LIFETIME_S
        self._valid: set[str] = set()

    def issue(self) -> str:
        """A new one."""
        issued = int(time.time())
        claims = {
            "sub": "IBMid-emulated",
            "jti": str(uuid.uuid4()),
            "iat": issued,
            "exp": issued + self.lifetime_s,
        }
        parts = ({"alg": "HS256", "typ": "JWT"}, claims)
        body = ".".join(_plain64(json.dumps(part)) for part in parts)
        token = f"{body}.{_signature(body)}"
        self._valid.add(token)
        return token

    def is_valid(self, token: str) -> bool:
        """Whether it was issued here and has not expired."""
        return token in self._valid

    def expire(self) -> None:
        """Let every token that was issued expire now, whatever is written in it."""
        self._valid.clear()


def grant(form: dict[str, list[str]], tokens: Tokens) -> dict[str, Any]:
    """`POST /identity/token`: an API key for an access token.

    Raises:
        RefusedError: If the key is another than `TOKEN`.
    """
    if form.get("apikey") != [TOKEN]:
        refused = RefusedError(400, 0, "Provided API key could not be found.")
        refused.body = {"errorCode": "BXNIM0415E", "errorMessage": str(refused)}
        raise refused
    return {
        "access_token": tokens.issue(),
        "refresh_token": "not_supported",
        "token_type": "Bearer",
        "expires_in": tokens.lifetime_s,
        "expiration": int(time.time()) + tokens.lifetime_s,
        "scope": "ibm openid",
    }


def instance_names() -> dict[str, str]:
    """The names of all instances, by CRN, as an account begins with them."""
    return {resource: name for resource, (name, *_) in PLANS.items()}


def search(names: Mapping[str, str]) -> dict[str, Any]:
    """`POST /v3/resources/search`: all instances of the account.

    Args:
        names: Their names, by CRN.
    """
    return {
        "items": [
            {
                "crn": resource,
                "name": names[resource],
                "service_plan_unique_id": plan_id,
                "doc": {"extensions": [{"backends": "all"}]},
                "tags": [],
            }
            for resource, (_, plan_id, _, _) in PLANS.items()
        ],
        "limit": 100,
    }


def plan(plan_id: str) -> dict[str, Any]:
    """`GET /api/v1/{id}` of the global catalog: what an instance's plan is called and costs."""
    for _, known, title, pricing in PLANS.values():
        if known == plan_id:
            return {
                "overview_ui": {"en": {"display_name": title}},
                "metadata": {"pricing": {"type": pricing}},
            }
    raise RefusedError(404, 0, f"Catalog entry not found: {plan_id}")


def usage(instance: str, consumed_s: float, quota_s: float | None) -> dict[str, Any]:
    """`GET /instances/usage`: an Open instance has a limit, a Premium one is allocated time."""
    _, plan_id, title, _ = PLANS[instance]
    limit_s = DEFAULT_QUOTA_S if quota_s is None else quota_s
    limits = {"usage_limit_seconds": limit_s}
    if title == "Premium":
        limits = {"usage_limit_seconds": None, "usage_allocation_seconds": limit_s}
    return {
        "instance_id": instance,
        "plan_id": plan_id,
        "usage_consumed_seconds": consumed_s,
        **limits,
        "usage_limit_reached": consumed_s >= limit_s,
    }


def _plain64(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _signature(body: str) -> str:
    digest = hmac.new(b"emulated", body.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
