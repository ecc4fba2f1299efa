"""Uploads of bundles: begun, sent in pieces, gone on with after a break, then imported in the background.

A piece says by `Upload-Offset` where it begins. After a break the sender asks for the offset and goes on from there.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field
from starlette.requests import ClientDisconnect

from edgemgr.errors import ConflictError
from edgemgr.inventory.bundle_upload import PIECE_BYTES, Upload, Uploads, UploadState, sync
from edgemgr.web.api.envelope import Document, Listing
from edgemgr.web.appliance import Appliance, Imports

router = APIRouter(prefix="/bundle-uploads", tags=["bundles"])

_SIZE_MAX = 2**53
_BLOCK_BYTES = 1 << 20

UploadId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]


def _uploads(appliance: Appliance) -> Uploads:
    return Uploads(appliance.settings)


Desk = Annotated[Uploads, Depends(_uploads)]


class UploadRequest(BaseModel):
    """The file that is to be sent."""

    name: str = Field(min_length=1, max_length=255)
    size_bytes: int = Field(ge=1, le=_SIZE_MAX)
    modified_ms: int = Field(0, ge=0, le=_SIZE_MAX, description="When it was last changed; tells it from others.")


class UploadDocument(Document):
    """An upload, and where it is."""

    kind: str = "BundleUpload"
    id: str
    name: str
    size_bytes: int
    offset: int = Field(description="Bytes that are here.")
    piece_bytes: int = Field(description="The largest piece that is taken.")
    state: str
    step: str = Field("", description="What its import does now.")
    step_done: int = 0
    step_total: int = Field(0, description="0: not known.")
    message: str = ""
    code: str = ""
    hint: str = ""


@router.post("", operation_id="beginBundleUpload", status_code=HTTPStatus.CREATED)
def begin(uploads: Desk, imports: Imports, wanted: UploadRequest) -> UploadDocument:
    """Begin an upload, or find the one of the same file that broke off. Size, room and quota are checked now."""
    upload = uploads.begin(wanted.name, wanted.size_bytes, wanted.modified_ms)
    if upload.state is UploadState.RECEIVED:
        imports.add(upload.id)
    return _document(upload, imports)


@router.get("", operation_id="listBundleUploads")
def list_uploads(uploads: Desk, imports: Imports) -> Listing[UploadDocument]:
    """Uploads that are under way, and those of the last days."""
    items = [_document(upload, imports) for upload in uploads.all()]
    return Listing[UploadDocument](kind="BundleUploadList", items=items, total=len(items))


@router.get("/{upload_id}", operation_id="getBundleUpload")
def get(uploads: Desk, imports: Imports, upload_id: UploadId) -> UploadDocument:
    """Where an upload is."""
    return _document(uploads.get(upload_id), imports)


@router.patch("/{upload_id}", operation_id="sendBundlePiece")
async def send(
    request: Request,
    uploads: Desk,
    imports: Imports,
    *,
    upload_id: UploadId,
    upload_offset: Annotated[int, Header(ge=0, le=_SIZE_MAX)],
    content_length: Annotated[int, Header(ge=1, le=PIECE_BYTES)],
) -> UploadDocument:
    """Take a piece of the file. With the last one the import begins."""
    with uploads.piece(upload_id, upload_offset, content_length) as file:
        left, block = content_length, bytearray()
        try:
            async for chunk in request.stream():
                block += chunk[:left]
                left -= len(chunk[:left])
                if len(block) >= _BLOCK_BYTES:
                    await run_in_threadpool(file.write, bytes(block))
                    block.clear()
        except ClientDisconnect:
            pass  # what came counts: the sender asks where the upload is and goes on
        await run_in_threadpool(file.write, bytes(block))
        await run_in_threadpool(sync, file)
    upload = await run_in_threadpool(uploads.get, upload_id)
    if upload.state is UploadState.RECEIVED:
        imports.add(upload_id)
    return _document(upload, imports)


@router.delete("/{upload_id}", operation_id="discardBundleUpload", status_code=HTTPStatus.NO_CONTENT)
def discard(uploads: Desk, imports: Imports, upload_id: UploadId) -> Response:
    """Forget an upload; not while it is imported."""
    if imports.step(upload_id) is not None:
        raise ConflictError("this upload is being imported", hint="Wait until it is done.", code="E-BUNDLE-BUSY")
    uploads.discard(upload_id)
    return Response(status_code=HTTPStatus.NO_CONTENT)


def _document(upload: Upload, imports: Imports) -> UploadDocument:
    step = imports.step(upload.id)
    return UploadDocument(
        **vars(upload),
        piece_bytes=PIECE_BYTES,
        step=step.what if step else "",
        step_done=step.done if step else 0,
        step_total=step.total if step else 0,
    )
