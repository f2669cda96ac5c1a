"""``gateway routes``: the routes of the file."""

from gateway.cli.building import built_to_answer
from gateway.cli.options import AsJSON, File
from gateway.cli.terminal import print_json, print_text
from gateway.routing.listing import routes_of
from gateway.runtime import banner


def routes(config: File = None, as_json: AsJSON = False) -> None:
    """List the routes, in the order in which they are tried.

    Example: gateway routes --json
    """
    gateway = built_to_answer(config)
    found = routes_of(gateway.app)
    if as_json:
        print_json([{"type": kind, "pattern": str(route.pattern), "target": route.target} for kind, route in found])
        return
    for line in banner.route_lines(gateway.app) or [f"  everything -> {gateway.settings.application}"]:
        print_text(line)
