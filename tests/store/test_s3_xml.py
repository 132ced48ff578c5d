"""The XML of S3: what servers send is read to the letter or refused."""

import pytest

from dvlite.store.s3_xml import Fault, Key, NotXml, OtherXml, delete_text, read_fault, read_page, read_refusals

NS = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
ITEM = "<Contents><Key>{}</Key><Size>{}</Size><LastModified>{}</LastModified></Contents>"
TIME = "2026-01-01T00:00:00.000Z"


def page(*items, space=NS, more="<IsTruncated>false</IsTruncated>", root="ListBucketResult"):
    return f'<?xml version="1.0"?><{root}{space}>{"".join(items)}{more}</{root}>'.encode()


@pytest.mark.parametrize("space", [NS, "", ' xmlns="urn:another"'])
@pytest.mark.parametrize("time", [TIME, "2026-01-01T00:00:00Z", "2026-01-01T01:00:00.000000000+01:00"])
def test_a_page_has_keys_sizes_and_times(space, time):
    read = read_page(page(ITEM.format("a&amp;b/ü", 3, time), space=space))
    assert (list(read.keys), read.token, read.is_last) == ([Key("a&b/ü", 3, 1767225600.0)], "", True)


def test_keys_are_unescaped_only_if_the_server_says_that_it_escaped_them():
    more = "<IsTruncated>true</IsTruncated><NextContinuationToken>a+b%20</NextContinuationToken>"
    assert read_page(page(ITEM.format("a+%2Bb%00", 0, TIME), more=more)).keys[0].key == "a+%2Bb%00"
    read = read_page(page(ITEM.format("a+%2Bb%00", 0, TIME), more=f"<EncodingType>url</EncodingType>{more}"))
    assert (read.keys[0].key, read.token, read.is_last) == ("a +b\0", "a+b%20", False)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", NotXml),
        (b"<html><p>Please sign in<br></html>", NotXml),
        (page()[:-5], NotXml),
        (b'<!DOCTYPE a [<!ENTITY b "cc">]><a>&b;</a>', NotXml),
        ('<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a [<!ENTITY b "cc">]><a>&b;</a>'.encode("utf-16"), NotXml),
        (b"<a>&lol;</a>", NotXml),
        (page(ITEM.format("\ud800", 1, TIME).encode("utf-8", "surrogatepass").decode("latin-1")), None),
        (b"<ListBucketResult>\xff</ListBucketResult>", NotXml),
        (b"<html/>", OtherXml),
        (page(more=""), OtherXml),
        (page(more="<IsTruncated>maybe</IsTruncated>"), OtherXml),
        (page(root="ListAllMyBucketsResult"), OtherXml),
        (page(ITEM.format("a", "x", TIME)), OtherXml),
        (page(ITEM.format("a", "9" * 5000, TIME)), OtherXml),
        (page(ITEM.format("a", 1, "soon")), OtherXml),
        (page("<Contents><Key>a</Key></Contents>"), OtherXml),
    ],
)
def test_what_is_no_page_is_refused(body, error):
    if error is None:
        read_page(body)
        return
    with pytest.raises(error):
        read_page(body)


@pytest.mark.parametrize("space", [NS, ""])
def test_errors_are_read_from_documents_of_their_own_and_of_a_batch(space):
    text = f"<Error{space}><Code> NoSuchKey </Code><Message>x</Message><Key>a</Key><Region>eu</Region></Error>"
    assert read_fault(text.encode()) == Fault("NoSuchKey", "eu", "a")
    batch = f"<DeleteResult{space}><Deleted><Key>b</Key></Deleted>{text.replace(space, '')}</DeleteResult>"
    assert read_refusals(batch.encode()) == [Fault("NoSuchKey", "eu", "a")]
    assert read_fault(batch.encode()) is None
    for body in (b"", b"busy", b'{"code": "x"}', page()):
        assert read_fault(body) is None
    with pytest.raises(OtherXml):
        read_refusals(page())


def test_the_keys_of_a_batch_are_escaped():
    assert b"<Key>a&amp;&lt;b</Key>" in delete_text(["a&<b"])
