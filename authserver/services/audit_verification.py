"""Check the chain of audit records as it is stored, beside servers that go on writing and pruning."""

from collections.abc import Mapping

from authserver.protocol.audit_chain import CHECKPOINT_TYP, Anchors, Broken, Checkpoint, Head, Verified
from authserver.protocol.audit_chain import verify as verify_chain
from authserver.services.audit_trail import AuditStore
from authserver.services.ports import Signer


def verify(store: AuditStore, signer: Signer, *, exported: Mapping[int, bytes], now: int) -> Verified:
    """Check every record that is kept; `exported` are hashes by number that are known from elsewhere.

    Raises Broken for the first record that is not as it was written, Unavailable when the database does not answer.
    """
    while True:
        head, signed = _end(store)
        try:
            return _verified(store, head, _anchors(signed, signer, head, exported=exported), now=now)
        except Broken:
            pruned = store.head()
            if pruned is None or pruned.pruned_sequence == head.pruned_sequence:
                raise  # what is missing was not pruned meanwhile


def _end(store: AuditStore) -> tuple[Head, list[str]]:
    """Return the head with the checkpoints of the same moment."""
    before, head = None, None
    while True:
        signed = list(store.checkpoints())
        if signed == before:
            return head or Head(), signed
        before, head = signed, store.head()


def _anchors(signed: list[str], signer: Signer, head: Head, *, exported: Mapping[int, bytes]) -> Anchors:
    """Return what the checkpoints say. Of older ones the key may be retired by now; the newest vouches for all."""
    known = dict(exported)
    read = [signer.verify(one, typ=CHECKPOINT_TYP) for one in signed]
    if read and read[0] is None:
        raise Broken(head.sequence, "has a newest checkpoint that no published key signed")
    good = [Checkpoint.of(claims) for claims in read if claims is not None]
    for older in good[1:]:
        known.setdefault(older.head.sequence, older.head.hash)
    return Anchors(good[0] if good else None, known)


def _verified(store: AuditStore, head: Head, anchors: Anchors, *, now: int) -> Verified:
    signed = anchors.newest.head.sequence if anchors.newest else 0
    last = max(head.sequence, signed)
    found = verify_chain(head, store.links(after=0, up_to=last), anchors, now=now)
    stray = [link.sequence for link in store.links(after=last, up_to=last + 1)]
    present = store.head() or Head()
    if stray and present.sequence <= last:
        raise Broken(stray[0], "stands behind the head of the chain")
    return found
