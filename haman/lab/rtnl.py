"""pyroute2's decoders of routes and addresses, loaded without the rest of it: a tenth of a second of a core."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg as ifaddrmsg  # noqa: PLC0414 - exported
    from pyroute2.netlink.rtnl.rtmsg import rtmsg as rtmsg  # noqa: PLC0414 - exported
else:
    from haman.system.unopened import load

    _addresses, _routes = load("pyroute2", "netlink.rtnl.ifaddrmsg", "netlink.rtnl.rtmsg")
    ifaddrmsg, rtmsg = _addresses.ifaddrmsg, _routes.rtmsg
