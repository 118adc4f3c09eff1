"""The audit of the job store and the object store: what `impasto doctor` runs, and a chore now and then.

It only reads, in bounded pieces, beside a service at work: what is merely on its way is not a finding. What
is found is named in `findings`; each other module looks for its part of it.
"""

from shared.audit.audit import audit, here
from shared.audit.findings import Code, Finding
from shared.audit.reader import AuditStoppedError

__all__ = ["AuditStoppedError", "Code", "Finding", "audit", "here"]
