"""`l2tpns-lab dial`: the LAC simulator on the command line."""

import argparse
import asyncio
import ipaddress
import json
import sys
from typing import Any

from l2tpns_core.lab.dial import AUTHS, HANGUPS, DialOptions, DialSummary, dial
from l2tpns_core.lab.netns import LabError
from l2tpns_core.lab.transport import Impairments

DESCRIPTION = """\
Dial an LNS as a LAC with many PPP clients, in user space, without root.

Each call goes the whole way: SCCRQ, ICRQ, LCP, login, IPCP, an address. Then the clients stay
up as long as --hold says, answer echoes, may ping a host behind the LNS, and hang up. Everything
that the LNS does against the rules is counted as a violation and makes the exit status 1."""

EPILOG = """\
examples:
  one subscriber, ten pings through the tunnel:
    l2tpns-lab dial --lns 192.0.2.1 --user alice --password wonder --ping 198.51.100.1 --hold 10
  2,000 subscribers user1 to user2000 in 4 tunnels, 100 calls a second, up for a minute:
    l2tpns-lab dial --lns 192.0.2.1 --tunnels 4 --sessions 2000 --rate 100 --hold 60
  the same over a bad line, with a summary for scripts:
    l2tpns-lab dial --lns 192.0.2.1 --tunnels 4 --sessions 2000 \\
        --loss 10 --duplicate 10 --reorder 10 --json
  how the LNS takes a LAC that dies:
    l2tpns-lab dial --lns 192.0.2.1 --sessions 50 --hold 5 --hangup vanish"""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "dial",
        help="a LAC with any number of PPP clients",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_line_options(parser)
    _add_call_options(parser)
    _add_load_options(parser)
    parser.add_argument("--json", action="store_true", help="print the whole summary as JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")
    parser.set_defaults(run=run)


def _add_line_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the line")
    group.add_argument(
        "--lns",
        type=_endpoint,
        default=("127.0.0.1", 1701),
        metavar="ADDR[:PORT]",
        help="the LNS (default: 127.0.0.1:1701)",
    )
    group.add_argument(
        "--bind",
        type=_endpoint,
        default=("0.0.0.0", 0),
        metavar="ADDR[:PORT]",
        help="our own address and port (default: any)",
    )
    group.add_argument(
        "--tunnels", type=_positive, default=1, metavar="N", help="tunnels (default: 1)"
    )
    group.add_argument(
        "--source-ports", action="store_true", help="a UDP port of its own for each tunnel"
    )
    group.add_argument(
        "--secret", default="", metavar="TEXT", help="tunnel secret: challenge, and be challenged"
    )
    group.add_argument("--hidden-avps", action="store_true", help="hide attributes; needs --secret")
    group.add_argument(
        "--window", type=_positive, default=64, metavar="N", help="our receive window (default: 64)"
    )
    group.add_argument(
        "--retransmit",
        type=parse_amount,
        default=1.0,
        metavar="SECONDS",
        help="repeat a control message after this (default: 1; less for quick tests with --loss)",
    )
    for name, text in (
        ("loss", "lose"),
        ("duplicate", "double"),
        ("reorder", "delay by up to 60 ms"),
    ):
        group.add_argument(
            f"--{name}",
            type=parse_percent,
            default=0.0,
            metavar="PERCENT",
            help=f"{text} so many datagrams, each way",
        )
    group.add_argument(
        "--impair",
        choices=("control", "data", "all"),
        default="control",
        help="which messages --loss and so on act on (default: control)",
    )
    group.add_argument("--seed", type=int, default=1, metavar="N", help="for the impairments")


def _add_call_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the calls")
    group.add_argument(
        "--sessions", type=_positive, default=1, metavar="N", help="calls in all (default: 1)"
    )
    group.add_argument(
        "--user", default="user%d", help="%%d becomes the call's number (default: user%%d)"
    )
    group.add_argument("--password", default="password", help="may hold %%d as well")
    group.add_argument(
        "--auth", choices=tuple(AUTHS), default="both", help="what the clients agree to"
    )
    group.add_argument(
        "--sequencing", action="store_true", help="Sequencing Required: data messages numbered"
    )
    group.add_argument(
        "--proxy",
        action="store_true",
        help="the LAC leads LCP and the login, and hands both over (proxy AVPs)",
    )
    group.add_argument(
        "--compress", action="store_true", help="ask for protocol and address compression"
    )
    group.add_argument(
        "--hangup", choices=HANGUPS, default="ppp", help="how calls end (default: ppp)"
    )


def _add_load_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the load")
    group.add_argument(
        "--rate",
        type=parse_amount,
        default=0.0,
        metavar="N",
        help="calls a second (default: no limit)",
    )
    group.add_argument(
        "--max-pending",
        type=_positive,
        default=256,
        metavar="N",
        help="calls in setup at once (default: 256)",
    )
    group.add_argument(
        "--setup-timeout",
        type=parse_amount,
        default=30.0,
        metavar="SECONDS",
        help="a call without an address after this has failed (default: 30)",
    )
    group.add_argument(
        "--hold", type=parse_amount, default=0.0, metavar="SECONDS", help="stay up so long"
    )
    group.add_argument(
        "--echo",
        type=parse_amount,
        default=0.0,
        metavar="SECONDS",
        help="each client sends an LCP echo this often (default: never)",
    )
    group.add_argument(
        "--ping", type=parse_address, metavar="ADDR", help="ping it through the tunnel"
    )
    pace = group.add_mutually_exclusive_group()
    pace.add_argument(
        "--traffic",
        type=parse_amount,
        metavar="PPS",
        help="pings a second of each session (default: 1 with --ping)",
    )
    pace.add_argument(
        "--traffic-total", type=parse_amount, metavar="PPS", help="pings a second of all sessions"
    )
    group.add_argument(
        "--size", type=_size, default=64, metavar="BYTES", help="of each ping (default: 64)"
    )


def run(args: argparse.Namespace) -> int:
    """Dial, report, and return the exit status."""
    options = options_from(args)

    def report(text: str) -> None:
        if not args.quiet:
            print(f"dial: {text}", file=sys.stderr)

    try:
        summary = asyncio.run(dial(options, report))
    except OSError as error:
        raise LabError(
            f"no UDP socket on {options.bind}:{options.bind_port}: {error.strerror}"
        ) from error
    if args.json:
        print(json.dumps(summary.as_dict(), indent=1))
    else:
        print(render(summary))
    return 0 if summary.ok else 1


def options_from(args: argparse.Namespace) -> DialOptions:
    """The options of dial(). Raises LabError for a combination that makes no sense."""
    if args.hidden_avps and not args.secret:
        raise LabError("--hidden-avps needs --secret")
    if (args.traffic or args.traffic_total) and not args.ping:
        raise LabError("--traffic needs --ping ADDR, the host that answers")
    if args.ping and not args.hold:
        raise LabError("--ping needs --hold SECONDS, the time to ping for")
    traffic = args.traffic if args.traffic is not None else float(bool(args.ping))
    return DialOptions(
        lns=args.lns[0],
        lns_port=args.lns[1] or 1701,
        bind=args.bind[0],
        bind_port=args.bind[1],
        source_ports=args.source_ports,
        tunnels=args.tunnels,
        sessions=args.sessions,
        user=args.user,
        password=args.password,
        auth=args.auth,
        secret=args.secret,
        hidden_avps=args.hidden_avps,
        rate=args.rate,
        max_pending=args.max_pending,
        setup_timeout_s=args.setup_timeout,
        hold_s=args.hold,
        traffic=traffic,
        traffic_total=args.traffic_total or 0.0,
        ping=args.ping or "",
        size=args.size,
        echo_interval_s=args.echo,
        hangup=args.hangup,
        sequencing=args.sequencing,
        proxy=args.proxy,
        compress=args.compress,
        window=args.window,
        retransmit_s=args.retransmit,
        impairments=Impairments(
            loss=args.loss,
            duplicate=args.duplicate,
            reorder=args.reorder,
            control=args.impair != "data",
            data=args.impair != "control",
            seed=args.seed,
        ),
    )


def render(summary: DialSummary) -> str:
    """The summary for people."""
    lines = [
        f"tunnels    {summary.tunnels_up} of {summary.tunnels_asked} up",
        f"sessions   {summary.sessions_up} of {summary.sessions_asked} came up, "
        f"{summary.sessions_failed} failed, {summary.sessions_lost} lost",
    ]
    if summary.sessions_up:
        lines += [
            f"setup      {summary.setup_seconds:.2f} s, {summary.calls_per_second:g} calls/s",
            f"latency    ICRQ to address: {_latency(summary.icrq_to_address_s)}",
            f"           SCCRQ to address: {_latency(summary.sccrq_to_address_s)}",
            f"addresses  {_addresses(summary)}",
        ]
    if summary.traffic_sent:
        lines.append(
            f"traffic    {summary.traffic_sent} pings, {summary.traffic_received} answers, "
            f"{summary.sessions_silent} sessions without any"
        )
    for title, items in (
        ("LNS said", summary.results),
        ("failures", summary.failures),
        ("violations", summary.violation_kinds),
    ):
        lines += [
            f"{title if not i else '':<10} {count} x {text}"
            for i, (text, count) in enumerate(items.items())
        ]
    lines += [f"tunnel     {text}" for text in summary.tunnel_failures]
    lines += [f"           {text}" for text in summary.first_violations[:5]]
    lines.append("result     " + ("as asked" if summary.ok else "not as asked"))
    return "\n".join(lines)


def _latency(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value * 1000:.1f} ms" for name, value in values.items())


def _addresses(summary: DialSummary) -> str:
    shown = ", ".join(summary.addresses[:3])
    if len(summary.addresses) > 3:
        shown += f", … ({len(summary.addresses)} in all)"
    return shown + (
        f", {summary.duplicate_addresses} given twice" * bool(summary.duplicate_addresses)
    )


def _endpoint(text: str) -> tuple[str, int]:
    address, colon, port = text.partition(":")
    if colon and not (port.isdecimal() and int(port) < 65536):
        raise argparse.ArgumentTypeError(f"no port: {port!r}")
    return parse_address(address), int(port or 0)


def parse_address(text: str) -> str:
    """An IPv4 address on the command line."""
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"no IPv4 address: {text!r}") from error


def _number(text: str, kind: type[Any], least: float, most: float, what: str) -> Any:
    try:
        value = kind(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"no {what}: {text!r}") from error
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"{what} from {least:g} to {most:g}, not {text}")
    return value


def _positive(text: str) -> int:
    return int(_number(text, int, 1, 4_000_000, "number"))


def parse_amount(text: str) -> float:
    """Seconds, or a rate: not negative."""
    return float(_number(text, float, 0, 1e9, "amount"))


def parse_percent(text: str) -> float:
    """From 0 to 100."""
    return float(_number(text, float, 0, 100, "percentage"))


def _size(text: str) -> int:
    return int(_number(text, int, 28, 1500, "size"))
