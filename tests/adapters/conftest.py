"""Each test here runs once in each framework, unless it says otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import sites


@pytest.fixture(params=sites.SITES, ids=lambda kind: kind.kind)
def open_site(request: pytest.FixtureRequest) -> Iterator[Callable[..., sites.Site]]:
    """Opens a site with these settings."""
    with sites.opener(request.param) as open_one:
        yield open_one


@pytest.fixture
def site(open_site: Callable[..., sites.Site]) -> sites.Site:
    """A site with the default settings."""
    return open_site()


@pytest.fixture
def visitor(site: sites.Site) -> sites.Visitor:
    """A visitor who has no cookie."""
    return site.visitor()
