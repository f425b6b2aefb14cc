"""deploy/ without a cluster: it builds, its pods are restricted, its roles are minimal."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import certifi
import click
import pytest
import yaml

from pullgate.providers.handoff import SYSTEM_NAMESPACE
from pullgate_cli.operator import operator
from pullgate_cli.options import parse_size, read_settings
from pullgate_cli.proxy import proxy
from pullgate_proxy.settings import ProxySettings
from tests.support.install_page import reader_folder, yaml_block
from tests.support.kustomize import COMPONENTS, DEPLOY, Document, build, name_of, of_kind, write_overlay

READ = {"get", "list", "watch"}
CLUSTER_WIDE = {"Namespace", "ClusterRole", "ClusterRoleBinding"}
COMMANDS: dict[str, click.Command] = {"operator": operator, "proxy": proxy}
INSTALL = DEPLOY.parent / "docs" / "install.md"


@functools.cache
def manifests() -> list[Document]:
    return build(DEPLOY / "manifests")


@pytest.fixture(params=[[], *([name] for name in COMPONENTS), COMPONENTS], ids=["alone", *COMPONENTS, "all"])
def components(request: pytest.FixtureRequest) -> list[str]:
    """None, each, and all of them."""
    found: list[str] = request.param
    return found


@pytest.fixture
def built(components: list[str], tmp_path: Path) -> list[Document]:
    """The manifests with `components`."""
    return build(write_overlay(tmp_path, DEPLOY / "manifests", components))


def find(kind: str, name: str) -> Document:
    return next(d for d in manifests() if d["kind"] == kind and d["metadata"]["name"] == name)


def pods(documents: list[Document]) -> list[Document]:
    return [d["spec"]["template"] for d in of_kind(documents, "Deployment")]


# --- builds ------------------------------------------------------------------------------------------------------


def test_one_folder_installs_the_crds_and_all_else() -> None:
    everything = {name_of(d) for d in build(DEPLOY)}
    assert {name_of(d) for d in build(DEPLOY / "crds")} | {name_of(d) for d in manifests()} == everything
    kinds = {"registries", "licenses", "imagetests"}
    assert {f"CustomResourceDefinition/{kind}.pullgate.dev" for kind in kinds} <= everything


def test_all_stands_in_the_system_namespace(built: list[Document]) -> None:
    for document in built:
        namespace = None if document["kind"] in CLUSTER_WIDE else SYSTEM_NAMESPACE
        assert document["metadata"].get("namespace") == namespace, name_of(document)
        assert document["metadata"]["labels"]["app.kubernetes.io/part-of"] == "pullgate", name_of(document)


def test_the_overlay_of_the_install_page_builds_and_sets_what_it_says(tmp_path: Path) -> None:
    documents = build(reader_folder(tmp_path) / "overlay")
    images = {c["image"] for pod in pods(documents) for c in pod["spec"]["containers"]}
    assert images == {"registry.example.com/pullgate:0.1.0"}
    settings = next(d for d in of_kind(documents, "ConfigMap") if d["metadata"]["name"].startswith("pullgate-"))
    assert settings["data"]["PULLGATE_TRUSTED_PROXY"] == "10.0.0.0/8"


def test_the_proxys_own_tls_of_the_install_page_is_a_load_balancer_on_443(tmp_path: Path) -> None:
    overlay = reader_folder(tmp_path) / "overlay"
    own = yaml.safe_load(yaml_block("# overlay/kustomization.yaml, beside what is there"))
    path = overlay / "kustomization.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | own))
    services = {d["metadata"]["name"]: d["spec"] for d in of_kind(build(overlay), "Service")}
    assert services["pullgate-proxy"]["type"] == "LoadBalancer"
    assert [port["port"] for port in services["pullgate-proxy"]["ports"]] == [443]
    assert services["pullgate-proxy-admin"].get("type", "ClusterIP") == "ClusterIP"


def test_changed_settings_roll_both_deployments() -> None:
    settings = next(d for d in of_kind(manifests(), "ConfigMap") if "PULLGATE_EXTERNAL_URL" in d["data"])
    assert re.fullmatch(r"pullgate-[a-z0-9]{10}", settings["metadata"]["name"])
    for pod in pods(manifests()):
        (container,) = pod["spec"]["containers"]
        assert container["envFrom"] == [{"configMapRef": {"name": settings["metadata"]["name"]}}]


# --- pods --------------------------------------------------------------------------------------------------------


def test_the_namespace_takes_restricted_pods_only() -> None:
    labels = find("Namespace", SYSTEM_NAMESPACE)["metadata"]["labels"]
    for mode in ("enforce", "audit", "warn"):
        assert labels[f"pod-security.kubernetes.io/{mode}"] == "restricted"


def test_every_container_is_restricted(built: list[Document], components: list[str]) -> None:
    user = None if "openshift" in components else 65532
    for pod in pods(built):
        spec = pod["spec"]
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(spec)
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security.get("runAsUser") == security.get("runAsGroup") == user
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        for volume in spec.get("volumes", ()):
            assert set(volume) <= {"name", "secret", "emptyDir", "configMap"}
            assert "sizeLimit" in volume.get("emptyDir", {"sizeLimit": ""})
        owned = [volume for volume in spec.get("volumes", ()) if "configMap" not in volume]
        assert security.get("fsGroup") == user or not owned
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_every_container_has_resources_and_probes(built: list[Document]) -> None:
    for pod in pods(built):
        for container in pod["spec"]["containers"]:
            disk = {"ephemeral-storage"} if container["name"] == "proxy" else set()
            assert set(container["resources"]["requests"]) == {"cpu", "memory"} | disk
            assert "memory" in container["resources"]["limits"]
            paths = {
                probe: container[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")
            }
            assert {get["port"] for get in paths.values()} == {"admin"}
            assert paths["livenessProbe"]["path"] == "/healthz"
            assert paths["readinessProbe"]["path"] == "/readyz"


def test_a_proxy_has_the_time_to_drain() -> None:
    spec = find("Deployment", "pullgate-proxy")["spec"]["template"]["spec"]
    wait = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert spec["terminationGracePeriodSeconds"] >= wait + ProxySettings().drain_seconds + 5


def test_what_the_pods_are_told_is_understood(built: list[Document], monkeypatch: pytest.MonkeyPatch) -> None:
    """Uses the commands' own parsers; a variable that is no option of the command would have no effect."""
    for pod in pods(built):
        for container in pod["spec"]["containers"]:
            assert parameters(container, built, monkeypatch)


def parameters(container: Document, built: list[Document], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The parameters that a container's command reads from its arguments and environment. Raises click.UsageError."""
    name, *arguments = container["args"]
    command = COMMANDS[name]
    own = {row["name"]: row["value"] for row in container["env"] if row["name"].startswith("PULLGATE_")}
    assert set(own) <= {f"PULLGATE_{str(option.name).upper()}" for option in command.params}
    if "PULLGATE_CA" in own:
        assert Path(own["PULLGATE_CA"]).parent in {Path(mount["mountPath"]) for mount in container["volumeMounts"]}
        own["PULLGATE_CA"] = certifi.where()  # the command reads it
    with monkeypatch.context() as environment:
        for reference in container["envFrom"]:
            settings = next(d for d in built if d["metadata"]["name"] == reference["configMapRef"]["name"])
            own = {**settings["data"], **own}
        for variable, value in own.items():
            environment.setenv(variable, value)
        return command.make_context(name, arguments).params


def proxy_settings(built: list[Document], monkeypatch: pytest.MonkeyPatch) -> ProxySettings:
    """Those of the proxies' pods."""
    (container,) = proxy_pod(built)["spec"]["containers"]
    found = parameters(container, built, monkeypatch)
    found.pop("kubeconfig")
    peers, peer_fetch = found.pop("peer_admin"), found.pop("peer")
    return read_settings(**found, peers=peers, peer_fetch=peer_fetch)


def proxy_pod(built: list[Document]) -> Document:
    return next(pod for pod in pods(built) if pod["spec"]["containers"][0]["name"] == "proxy")


def test_a_full_cache_fits_the_volume_and_the_node_that_it_was_asked_of(
    built: list[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, spec = proxy_settings(built, monkeypatch), proxy_pod(built)["spec"]
    volume = next(volume for volume in spec["volumes"] if volume["name"] == "cache")
    (container,) = spec["containers"]
    mount = next(mount for mount in container["volumeMounts"] if mount["name"] == "cache")
    assert (mount["mountPath"], mount.get("readOnly", False)) == (str(settings.blob_cache), False)
    asked, allowed = container["resources"]["requests"]["ephemeral-storage"], volume["emptyDir"]["sizeLimit"]
    assert settings.blob_cache_size < size(asked) < size(allowed)
    annotations = proxy_pod(built)["metadata"]["annotations"]
    assert annotations["cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"] == volume["name"]


def test_the_patch_of_the_install_page_makes_a_larger_disk_that_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = re.search(r"```yaml\n(# overlay/cache.yaml.*?)```", INSTALL.read_text(), re.DOTALL)
    assert found is not None
    built = with_patch(tmp_path, found[1])
    assert proxy_settings(built, monkeypatch).blob_cache_size == size("80Gi")
    test_a_full_cache_fits_the_volume_and_the_node_that_it_was_asked_of(built, monkeypatch)
    (tmp_path / "none").mkdir()
    nothing = found[1].replace(
        "{name: PULLGATE_BLOB_CACHE_SIZE, value: 80Gi}", '{name: PULLGATE_BLOB_CACHE, value: ""}'
    )
    assert proxy_settings(with_patch(tmp_path / "none", nothing), monkeypatch).blob_cache is None


def with_patch(folder: Path, patch: str) -> list[Document]:
    """The manifests with one more patch."""
    overlay = write_overlay(folder, DEPLOY / "manifests", [])
    (folder / "cache.yaml").write_text(patch)
    with (overlay / "kustomization.yaml").open("a") as file:
        file.write("patches: [{path: cache.yaml}]\n")
    return build(overlay)


def size(quantity: str) -> int:
    return parse_size(click.Context(proxy), proxy.params[0], quantity)


def test_each_component_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = proxy_settings(manifests(), monkeypatch)
    assert (alone.peer_fetch, alone.tls_cert) == ((), None)
    built = build(write_overlay(tmp_path, DEPLOY / "manifests", ["peers", "tls"]))
    settings = proxy_settings(built, monkeypatch)
    assert settings.peer_fetch == (("pullgate-proxy-peers", 8082),)
    assert settings.peer_listen == ("0.0.0.0", 8082)
    assert settings.tls_cert == Path("/tls/tls.crt")


def test_a_keys_secret_of_the_object_store_may_be_absent(tmp_path: Path) -> None:
    built = build(write_overlay(tmp_path, DEPLOY / "manifests", ["object-store"]))
    (container,) = proxy_pod(built)["spec"]["containers"]
    found = {row["name"]: row["valueFrom"]["secretKeyRef"] for row in container["env"] if "valueFrom" in row}
    assert set(found) == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    assert all(key["optional"] is True and key["name"] == "pullgate-object-store" for key in found.values())


def test_kubernetes_sets_no_variable_that_reads_like_a_flag() -> None:
    assert all(pod["spec"]["enableServiceLinks"] is False for pod in pods(manifests()))


def test_replicas_are_held_in_one_place() -> None:
    assert "replicas" not in find("Deployment", "pullgate-proxy")["spec"]
    assert find("HorizontalPodAutoscaler", "pullgate-proxy")["spec"]["minReplicas"] == 2
    assert find("Deployment", "pullgate-operator")["spec"]["replicas"] == 2


# --- what points at what -----------------------------------------------------------------------------------------


def test_every_selector_finds_pods_and_every_named_port_is_one(built: list[Document]) -> None:
    for document in of_kind(built, "Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy", "PodMonitor"):
        for selector in selectors(document["spec"]):
            assert [p for p in pods(built) if selector.items() <= p["metadata"]["labels"].items()], name_of(document)
    ports = {p["name"] for pod in pods(built) for c in pod["spec"]["containers"] for p in c["ports"]}
    for document in of_kind(built, "Service", "NetworkPolicy", "PodMonitor"):
        for port in named_ports(document["spec"]):
            assert port in ports, name_of(document)


def selectors(spec: Any) -> Iterator[dict[str, str]]:
    """The label selectors of pods, from anywhere in a spec."""
    if isinstance(spec, dict):
        for key, value in spec.items():
            if key in {"selector", "podSelector", "labelSelector"}:
                yield value.get("matchLabels", {}) if "matchLabels" in value or not value else value
            elif key != "namespaceSelector":
                yield from selectors(value)
    elif isinstance(spec, list):
        for part in spec:
            yield from selectors(part)


def named_ports(spec: Any) -> Iterator[str]:
    """The ports that are given by name anywhere in a spec."""
    if isinstance(spec, dict):
        target = spec.get("targetPort", spec.get("port"))
        if isinstance(target, str):
            yield target
        for value in spec.values():
            yield from named_ports(value)
    elif isinstance(spec, list):
        for part in spec:
            yield from named_ports(part)


def test_nothing_passes_the_namespace_that_no_policy_allows() -> None:
    deny = find("NetworkPolicy", "default-deny")["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_the_admin_port_is_reached_by_the_operator_and_monitoring_only(built: list[Document]) -> None:
    for policy in of_kind(built, "NetworkPolicy"):
        for rule in policy["spec"].get("ingress", ()):
            if "from" not in rule:
                assert [port["port"] for port in rule["ports"]] == ["http"], name_of(policy)
    public = find("Service", "pullgate-proxy")["spec"]["ports"]
    assert [port["targetPort"] for port in public] == ["http"]


def test_the_port_between_replicas_is_reached_by_proxies_only(tmp_path: Path) -> None:
    built = build(write_overlay(tmp_path, DEPLOY / "manifests", ["peers"]))
    proxies = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "pullgate-proxy"}}}
    seen = 0
    for policy in of_kind(built, "NetworkPolicy"):
        for rule in policy["spec"].get("ingress", ()):
            if any(port["port"] == "peers" for port in rule["ports"]):
                assert rule["from"] == [proxies]
                seen += 1
    assert seen == 1
    for service in of_kind(built, "Service"):
        if any(port["targetPort"] == "peers" for port in service["spec"]["ports"]):
            assert service["spec"]["clusterIP"] == "None"


# --- roles -------------------------------------------------------------------------------------------------------


def rules(*names: str, kinds: tuple[str, ...] = ("ClusterRole", "Role")) -> list[Document]:
    found = [d for d in of_kind(manifests(), *kinds) if not names or d["metadata"]["name"] in names]
    assert found
    return [rule for role in found for rule in role["rules"]]


def test_no_role_holds_a_wildcard() -> None:
    for rule in rules():
        assert not any("*" in value for values in rule.values() for value in values)


def test_every_binding_joins_a_role_and_an_account_that_are_there(built: list[Document]) -> None:
    there = {name_of(d) for d in built}
    for binding in of_kind(built, "ClusterRoleBinding", "RoleBinding"):
        assert f"{binding['roleRef']['kind']}/{binding['roleRef']['name']}" in there
        for subject in binding["subjects"]:
            assert f"ServiceAccount/{subject['name']}" in there
            assert subject["namespace"] == SYSTEM_NAMESPACE


def test_a_component_grants_no_right(built: list[Document]) -> None:
    kinds = ("ClusterRole", "Role", "ClusterRoleBinding", "RoleBinding", "ServiceAccount")
    assert of_kind(built, *kinds) == of_kind(manifests(), *kinds)


def test_the_proxy_only_reads_and_no_secret_of_an_app() -> None:
    for rule in rules("pullgate-proxy"):
        assert set(rule["verbs"]) == READ
    for rule in rules("pullgate-proxy", kinds=("ClusterRole",)):
        assert rule["apiGroups"] == ["pullgate.dev"]
    roles_of_proxy = {
        binding["roleRef"]["name"]
        for binding in of_kind(manifests(), "ClusterRoleBinding", "RoleBinding")
        if {"pullgate-proxy"} & {subject["name"] for subject in binding["subjects"]}
    }
    assert roles_of_proxy == {"pullgate-proxy"}


def test_the_operator_writes_no_spec() -> None:
    for rule in rules("pullgate-operator", "pullgate-operator-secrets"):
        if "pullgate.dev" in rule["apiGroups"] and set(rule["verbs"]) - READ:
            assert all(resource.endswith("/status") for resource in rule["resources"])


def test_the_operator_takes_one_lease_only() -> None:
    for rule in rules("pullgate-operator", kinds=("Role",)):
        if "leases" in rule["resources"] and rule["verbs"] != ["create"]:
            assert rule["resourceNames"] == ["pullgate-operator"]


def test_what_people_may_see_holds_no_secret() -> None:
    for rule in rules("pullgate-view", "pullgate-edit"):
        assert rule["apiGroups"] == ["pullgate.dev"]
        assert not any("/" in resource for resource in rule["resources"])
    assert all(set(rule["verbs"]) == READ for rule in rules("pullgate-view"))
