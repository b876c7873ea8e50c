"""Principals, tokens, SSH keys."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from gitserver.errors import Problem
from gitserver.ledger import rows
from gitserver.ledger.base import Rows, now
from gitserver.ledger.records import Principal, SshKey, Token
from gitserver.ledger.schema import principals, ssh_keys, tokens


class AccountRows(Rows):
    """Who may act."""

    def add_principal(self, name: str) -> Principal:
        """A new principal. Raises Problem('principal-exists')."""
        try:
            with self._write() as db:
                row = (
                    db.execute(sa.insert(principals).values(name=name, created_at=now()).returning(principals))
                    .mappings()
                    .one()
                )
        except sa.exc.IntegrityError as error:
            raise Problem("principal-exists", name=name) from error
        return rows.principal(row)

    def find_principal(self, name: str) -> Principal | None:
        """By name."""
        with self._read() as db:
            row = db.execute(sa.select(principals).where(principals.c.name == name)).mappings().first()
        return None if row is None else rows.principal(row)

    def principal(self, principal_id: int) -> Principal:
        """By id; the id comes from a row that refers to it, so it exists."""
        with self._read() as db:
            return rows.principal(
                db.execute(sa.select(principals).where(principals.c.id == principal_id)).mappings().one()
            )

    def add_token(
        self,
        principal_id: int,
        *,
        token_id: str,
        secret_sha256: str,
        label: str,
        last4: str,
        expires_at: datetime | None,
    ) -> Token:
        """Remember a token by the hash of its secret."""
        values = {
            "id": token_id, "principal_id": principal_id, "secret_sha256": secret_sha256, "label": label,
            "last4": last4, "created_at": now(), "expires_at": expires_at, "revoked_at": None,
        }  # fmt: skip
        with self._write() as db:
            return rows.token(db.execute(sa.insert(tokens).values(values).returning(tokens)).mappings().one())

    def find_token(self, token_id: str) -> Token | None:
        """By id, revoked and expired ones too: the caller judges."""
        with self._read() as db:
            row = db.execute(sa.select(tokens).where(tokens.c.id == token_id)).mappings().first()
        return None if row is None else rows.token(row)

    def tokens(self, principal_id: int) -> list[Token]:
        """Those not revoked, newest first."""
        query = sa.select(tokens).where(tokens.c.principal_id == principal_id, tokens.c.revoked_at.is_(None))
        with self._read() as db:
            found = db.execute(query.order_by(tokens.c.created_at.desc())).mappings().all()
        return [rows.token(row) for row in found]

    def revoke_token(self, principal_id: int, token_id: str) -> bool:
        """Whether a live token of that principal was ended."""
        query = sa.update(tokens).where(
            tokens.c.id == token_id, tokens.c.principal_id == principal_id, tokens.c.revoked_at.is_(None)
        )
        with self._write() as db:
            return db.execute(query.values(revoked_at=now())).rowcount == 1

    def add_key(self, principal_id: int, *, fingerprint: str, public_key: str, label: str) -> SshKey:
        """Register a public key. Raises Problem('key-taken') when anybody has it: a key names one principal."""
        values = {
            "principal_id": principal_id, "fingerprint": fingerprint, "public_key": public_key, "label": label,
            "created_at": now(),
        }  # fmt: skip
        try:
            with self._write() as db:
                return rows.ssh_key(db.execute(sa.insert(ssh_keys).values(values).returning(ssh_keys)).mappings().one())
        except sa.exc.IntegrityError as error:
            raise Problem("key-taken", fingerprint=fingerprint) from error

    def find_key(self, fingerprint: str) -> SshKey | None:
        """By `SHA256:...`."""
        with self._read() as db:
            row = db.execute(sa.select(ssh_keys).where(ssh_keys.c.fingerprint == fingerprint)).mappings().first()
        return None if row is None else rows.ssh_key(row)

    def keys(self, principal_id: int) -> list[SshKey]:
        """Newest first."""
        query = sa.select(ssh_keys).where(ssh_keys.c.principal_id == principal_id).order_by(ssh_keys.c.id.desc())
        with self._read() as db:
            return [rows.ssh_key(row) for row in db.execute(query).mappings().all()]

    def remove_key(self, principal_id: int, fingerprint: str) -> bool:
        """Whether a key of that principal was removed."""
        query = sa.delete(ssh_keys).where(
            ssh_keys.c.principal_id == principal_id, ssh_keys.c.fingerprint == fingerprint
        )
        with self._write() as db:
            return db.execute(query).rowcount == 1
