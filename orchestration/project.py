"""The dbt project that is built: the checkout's own, or with integrations from outside it put beside its models.

An integration of `LARDER_INTEGRATIONS_PATH` may bring its staging and intermediate models in `models/staging` and
`models/intermediate`. dbt reads one project, so one is put together of links under `home`; nothing of the checkout is
edited, and what `larder integration sync` would generate for the vendor is generated there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from ingestion.errors import ConfigError
from ingestion.generate import generated_files
from ingestion.registry import BUILT_IN, FILE, discover, integration_paths
from ingestion.spec import IntegrationSpec

_MODELS = Path("dbt_project/models")
_LAYERS = ("staging", "intermediate")
_PARTS = ("dbt_project", "macros", "seeds")


def project_dir(checkout: Path, home: Path) -> Path:
    """Where dbt_project.yml is: `checkout`, or a project under `home` if there are integrations from outside.

    Raises:
        ConfigError: an integration says that it feeds an entity and has no model for it.
    """
    outside = dict(_outside())
    if not outside:
        return checkout
    specs = discover(integration_paths())
    links = dict(_files(checkout))
    for name, folder in outside.items():
        for layer in _LAYERS:
            found = folder / "models" / layer
            links |= {_MODELS / layer / name / file.relative_to(found): file for file in _plain(found)}
        _check(specs[name], folder, links)
    texts = {path: text for path, text in generated_files(specs).items() if path.suffix != ".md"}
    made = home / "project"
    _bring(made, {path: target for path, target in links.items() if path not in texts}, texts)
    return made


def _outside() -> Iterator[tuple[str, Path]]:
    for path in integration_paths():
        if path != BUILT_IN:
            yield from ((file.parent.name, file.parent.resolve()) for file in sorted(path.glob(f"*/{FILE}")))


def _check(spec: IntegrationSpec, folder: Path, links: Mapping[Path, Path]) -> None:
    for entity in spec.feeds:
        model = _MODELS / "intermediate" / spec.name / f"int_{spec.name}__{entity}s.sql"
        if model not in links:
            raise ConfigError(
                f"{folder / FILE} says that it feeds {entity}, but there is no models/intermediate/{model.name} beside"
                " it; write that, or leave `feeds` out: its records are then in raw alone",
                next_command="larder integration list",
            )


def _files(checkout: Path) -> Iterator[tuple[Path, Path]]:
    yield Path("dbt_project.yml"), checkout / "dbt_project.yml"
    for part in _PARTS:
        for file in _plain(checkout / part):
            yield file.relative_to(checkout), file


def _plain(folder: Path) -> Iterator[Path]:
    return (file for file in folder.rglob("*") if file.is_file())


def _bring(made: Path, links: Mapping[Path, Path], texts: Mapping[Path, str]) -> None:
    """Links and texts where they are not there yet; what else is there goes. Several processes may do so at once."""
    for path, target in links.items():
        at = made / path
        if not at.is_symlink() or at.readlink() != target:
            at.parent.mkdir(parents=True, exist_ok=True)
            at.unlink(missing_ok=True)
            at.symlink_to(target)
    for path, text in texts.items():
        at = made / path
        if at.is_symlink() or not at.exists() or at.read_text(encoding="utf-8") != text:
            at.parent.mkdir(parents=True, exist_ok=True)
            at.unlink(missing_ok=True)
            at.write_text(text, encoding="utf-8")
    wanted = {*links, *texts}
    for part in _PARTS:
        for file in (made / part).rglob("*"):
            if (file.is_symlink() or file.is_file()) and file.relative_to(made) not in wanted:
                file.unlink(missing_ok=True)
