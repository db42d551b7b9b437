"""Plugins in a running daemon: loaded and removed at the prompt and by SIGHUP, with settings."""

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from integration.daemon.stage import PASSWORD, Stage, scene, soon, until
from integration.garden.place import install_tools
from l2tpns_core.lab import RadiusUser

pytestmark = [pytest.mark.daemon, pytest.mark.netns]

WRONG = "wrong password"
USERS = {
    "user*": RadiusUser(PASSWORD),
    "slow*": RadiusUser(PASSWORD, reply={"Cisco-AVPair": ["throttle=yes"]}),
}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    directory = tmp_path_factory.mktemp("plugins")
    install_tools(directory)
    with Stage(
        directory, USERS, tail='load plugin "autothrottle"\nload plugin "nope"\n', throttle_speed=28
    ) as running:
        yield running


def loaded(stage: Stage) -> list[str]:
    return [plugin["name"] for plugin in stage.ask("show plugins")["loaded"]]


def ruleset(stage: Stage) -> str:
    """What nft lists on the machine of the LNS."""
    nft = str(stage.site.directory / "nft")
    program = stage.site.lns.popen([nft, "list", "ruleset"], stdout=subprocess.PIPE)
    out, _ = program.communicate()
    return out.decode()


async def trap(stage: Stage, user: str) -> dict[str, Any]:
    """Log in with a wrong password; the session, which is in the garden."""
    client = stage.call(user, WRONG)
    await soon(client.up)
    row = stage.session_of(user)
    assert row["walled_garden"]
    return row


@scene
async def test_a_plugin_of_the_startup_config_is_loaded_and_a_missing_one_reported(
    stage: Stage,
) -> None:
    assert loaded(stage) == ["autothrottle"]
    assert 'no plugin "nope" is installed (installed are ' in stage.site.log()


@scene
async def test_show_plugins_tells_what_is_installed_and_what_it_costs(stage: Stage) -> None:
    await stage.log_in("slow-one")
    report = stage.ask("show plugins")
    (plugin,) = report["loaded"]
    assert plugin["distribution"] == "l2tpns-plugins-autothrottle"
    assert plugin["hooks"]["radius_response"]["calls"] >= 1
    assert plugin["hooks"]["radius_response"]["seconds"] > 0
    assert {"garden", "autosnoop"} <= {other["name"] for other in report["installed"]}
    text = await stage.command("show plugins")
    assert "  radius_response" in text
    assert "Installed, not loaded:" in text


@scene
async def test_a_plugin_is_loaded_removed_and_loaded_again_at_the_prompt(stage: Stage) -> None:
    for _ in range(2):
        said = await stage.command("configure terminal", "load plugin garden")
        assert "Plugin garden loaded (l2tpns-plugins-garden" in said
        assert loaded(stage) == ["autothrottle", "garden"]
        await trap(stage, "user-behind")
        assert "chain garden_users" in ruleset(stage)
        assert 'load plugin "garden"' in await stage.command("show running-config")
        said = await stage.command("configure terminal", "remove plugin garden")
        assert "Plugin garden removed" in said
        assert loaded(stage) == ["autothrottle"]
        assert "garden" not in ruleset(stage)
        await until(lambda: stage.ask("show session") == [], "who was refused is still there")
    stage.assert_no_accounting("user-behind")


@scene
async def test_what_cannot_be_loaded_or_removed_is_said_in_one_line(stage: Stage) -> None:
    for words, answer in (
        ("load plugin gardne", 'did you mean "garden"?'),
        ("load plugin autothrottle", '"autothrottle" is loaded already'),
        ("remove plugin garden", '"garden" is not loaded (loaded: autothrottle)'),
    ):
        with pytest.raises(AssertionError) as failure:
            await stage.command("configure terminal", words)
        assert answer in str(failure.value)
    assert loaded(stage) == ["autothrottle"]


@scene
async def test_sighup_loads_removes_and_gives_new_settings(stage: Stage) -> None:
    settings = stage.site.directory / "plugins.toml"
    settings.write_text("[garden]\ncheck_interval = 'often'\n")
    stage.site.tail = 'load plugin "garden"\n'
    stage.site.write_config()
    await stage.reload()
    assert loaded(stage) == []
    assert "[garden] check_interval: expected a number, not 'often'" in stage.site.log()
    settings.write_text("[garden.unpaid]\n")
    await stage.reload()
    assert loaded(stage) == ["garden"]
    assert "chain garden_unpaid" in ruleset(stage)
    settings.write_text("[garden.unpaid]\n[garden.virus]\n")
    await stage.reload()
    assert "chain garden_virus" in ruleset(stage)
    assert "plugin garden has taken its new settings" in stage.site.log()
    settings.unlink()
    stage.site.tail = 'load plugin "autothrottle"\n'
    stage.site.write_config()
    await stage.reload()
    assert loaded(stage) == ["autothrottle"]
    assert "garden" not in ruleset(stage)
