"""Uploads in, receipts out."""

import os

# grpcio writes a line for each call that it does not like: strangers would fill the disk
os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # noqa: TID251  # no setting of ours
