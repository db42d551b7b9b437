"""Names of the TUN device."""

import pytest

from l2tpns_core.net.tun_device import TunDevice


@pytest.mark.parametrize("name", ["sixteen-bytes-xy", "a/b", "a b"])
def test_what_is_no_interface_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="network interface"):
        TunDevice(name)
