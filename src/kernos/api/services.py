"""Services over HTTP: what is deployed, how it does, deploy and rollback, and one prediction by its id."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import get, post
from litestar.params import FromPath, JSONBody
from msgspec import Meta

from kernos.api.context import Api, TheApi, TheCaller
from kernos.api.present.services import service_view
from kernos.api.views import ServiceView
from kernos.base.errors import NotFoundError
from kernos.catalog.records import DeploymentRecord


class Deploy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: Annotated[int, Meta(ge=1)]


@get("/v1/services", opt={"action": "runs:read"}, sync_to_thread=True)
def list_services(api: TheApi) -> list[ServiceView]:
    """By App."""
    return all_services(api)


@get("/v1/services/{app_name:str}", opt={"action": "runs:read"}, sync_to_thread=True)
def get_service(api: TheApi, app_name: FromPath[str]) -> ServiceView:
    return one_service(api, app_name)


@post("/v1/services/{app_name:str}/deploy", opt={"action": "deploy"}, status_code=200, sync_to_thread=True)
def deploy(api: TheApi, caller: TheCaller, app_name: FromPath[str], data: JSONBody[Deploy]) -> ServiceView:
    """Put version `version` of `/packages/<app>` into service, as a canary where the App says so."""
    api.system.loop.deploy(app_name, data.version, caller)
    return one_service(api, app_name)


@post("/v1/services/{app_name:str}/rollback", opt={"action": "deploy"}, status_code=200, sync_to_thread=True)
def rollback(api: TheApi, caller: TheCaller, app_name: FromPath[str]) -> ServiceView:
    """Back to the version before; a canary is taken away."""
    api.system.loop.rollback(app_name, caller)
    return one_service(api, app_name)


@get("/v1/predictions/{prediction:str}", opt={"action": "data:read"}, sync_to_thread=True)
def get_prediction(api: TheApi, caller: TheCaller, prediction: FromPath[str]) -> dict[str, Any]:
    """What was asked, what was answered, by which version."""
    answer: dict[str, Any] = api.system.loop.prediction(prediction, caller)
    return answer


def all_services(api: Api) -> list[ServiceView]:
    status = api.system.loop.status()
    with api.system.store.read() as reader:
        deployments = reader.list(DeploymentRecord, order_by="app")
        return [service_view(reader, deployment, status, api.history) for deployment in deployments]


def one_service(api: Api, app: str) -> ServiceView:
    status = api.system.loop.status()
    with api.system.store.read() as reader:
        deployment = reader.get(DeploymentRecord, app)
        if deployment is None:
            raise NotFoundError(f"{app} is not in service.", hint="`kernos services` lists what is.")
        return service_view(reader, deployment, status, api.history)


ROUTES: list[Any] = [list_services, get_service, deploy, rollback, get_prediction]
