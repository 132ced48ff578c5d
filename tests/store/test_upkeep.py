"""What a look at a remote shows of its upkeep."""

from dvlite.store import collect
from dvlite.store.catalog import Catalog
from dvlite.store.upkeep import advice
from tests.store.pushed import LARGE, SMALL


def said(site):
    return [sentence.partition(": ")[2] for sentence in advice(Catalog(site.remote).look(), "the store")]


def test_packs_that_are_gone_or_cut_are_a_case_for_fsck(world, store):
    here = world.site("here")
    here.push(here.add("data", SMALL), here.add("big", LARGE))
    store.forget()
    assert said(here) == []
    assert len(store.calls) == 4  # those of the look
    first, second, *_ = (entry.name for entry in store.list("packs/").entries)
    store.delete([first])
    store.store.objects[second] = store.store.objects[second][:-1]
    sentences = list(advice(Catalog(here.remote).look(), "the store"))
    assert [sentence.split()[0] for sentence in sentences] == ["2"]
    assert said(here) == ["dvlite fsck --remote 'the store' --repair"]


def test_what_was_given_up_a_day_ago_is_a_case_for_gc(world, store):
    here = world.site("here")
    here.push(here.add("data", SMALL))
    catalog = Catalog(here.remote).look()
    collect.condemn(catalog, catalog.packs)
    assert said(here) == []
    for name in store.store.modified:
        store.store.modified[name] -= 2 * 24 * 3600
    assert said(here) == ["dvlite gc --remote 'the store' --yes"]
    store.delete([entry.name for entry in store.list("packs/").entries])
    assert said(here) == []
