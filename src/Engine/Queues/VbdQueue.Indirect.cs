using Blkring.Abi;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Memory;
using Blkring.Engine.Telemetry;

namespace Blkring.Engine.Queues;

/// <summary>INDIRECT: READ and WRITE whose segments are listed in pages of their own.</summary>
/// <remarks>
/// The list is copied once, all lists of a pass in one grant copy of their own, into a run of the page pool; the data
/// lies behind it in the same run. Only what was copied is ever looked at.
/// </remarks>
public sealed unsafe partial class VbdQueue<TAbi, TGrants, TEvents, TDisk>
{
    private static readonly int s_segmentsPerPage = Arena.PageBytes / sizeof(Blkif.RequestSegment);

    /// <summary>Pages that list that many segments.</summary>
    private static int ListPagesOf(int segments) => (segments + s_segmentsPerPage - 1) / s_segmentsPerPage;

    /// <summary>
    /// Pages of the pool that a request of that many segments takes: its list, then its data, or where its mapped data
    /// is.
    /// </summary>
    private int RunPagesOf(int segments) =>
        ListPagesOf(segments)
        + (
            _mode == GrantMode.Copy
                ? segments + (_bounces ? BlockPages : 0)
                : ((segments * ScratchBytesPerSegment) + Arena.PageBytes - 1) / Arena.PageBytes
        );

    private void DispatchIndirect(int index, ref RequestSlot slot)
    {
        int operation = slot.Request.IndirectOp,
            segments = slot.Request.NrSegments;
        if (_maxIndirectSegments == 0 || operation is not (Blkif.OpRead or Blkif.OpWrite))
        {
            slot.Kind = RequestKind.Other;
            Reject(index, ref slot, _maxIndirectSegments == 0 ? Blkif.RspEopnotsupp : Blkif.RspError);
            return;
        }
        // From here on it is a READ or WRITE like any other, answered as such: frontends compare the response with
        // indirect_op (Linux). First the mark that a daemon to come needs: killed between the two in the other order,
        // this one would leave a direct request behind.
        Volatile.Write(ref slot.IsIndirect, true);
        Volatile.Write(ref slot.Request.Operation, (byte)operation);
        slot.Kind = operation == Blkif.OpRead ? RequestKind.Read : RequestKind.Write;
        if ((_readOnly && operation == Blkif.OpWrite) || segments == 0 || segments > _maxIndirectSegments)
        {
            Reject(index, ref slot, Blkif.RspError);
            return;
        }
        _throttle?.ChargeBytes(_passStarted, MostBytesOf(ref slot));
        if (_awaitingPages.Count > 0 || !TryBeginIndirect(index, ref slot))
            Wait(ref _awaitingPages, index, ref slot, SlotStage.AwaitPages);
    }

    /// <summary>Takes pages for the request and has its list copied; false when there is no room now.</summary>
    private bool TryBeginIndirect(int index, ref RequestSlot slot)
    {
        int pages = RunPagesOf(slot.Request.NrSegments);
        int first = _pool.TryTake(pages);
        if (first == PagePool.None)
            return false;
        (slot.RunFirst, slot.RunPages) = (first, pages);
        Hold(ref slot, SlotHolds.Pages);

        slot.Stage = SlotStage.Describe;
        _describing[_describingCount++] = (ushort)index;
        int left = slot.Request.NrSegments;
        for (int page = 0; left > 0; page++, left -= s_segmentsPerPage)
        {
            GrantCopySegment* copy = &_listCopies[_listCopyCount++];
            copy->SourceForeign = new ForeignAddress
            {
                Reference = slot.Request.IndirectGrefs[page],
                Domain = _frontend,
            };
            copy->DestAddress = _pool.At(first + page);
            copy->LengthBytes = (ushort)(Math.Min(left, s_segmentsPerPage) * sizeof(Blkif.RequestSegment));
            copy->Flags = GrantTable.GntcopySourceGref;
            copy->Status = GrantTable.GntstGeneralError;
        }
        return true;
    }

    /// <summary>
    /// One call for all lists of the pass; what they say is checked, and the requests go on as direct ones do.
    /// </summary>
    private void CopyLists()
    {
        if (_describingCount == 0)
            return;
        CallCopy(_listCopies, _listCopyCount);
        _capacity = _disk.CapacitySectors;

        int copy = 0,
            requests = _describingCount;
        _describingCount = _listCopyCount = 0;
        for (int i = 0; i < requests; i++)
        {
            int index = _describing[i];
            ref RequestSlot slot = ref _slots[index];
            short status = GrantTable.GntstOkay;
            for (int end = copy + ListPagesOf(slot.Request.NrSegments); copy < end; copy++)
                if (_listCopies[copy].Status != GrantTable.GntstOkay)
                    status = _listCopies[copy].Status;
            if (status == GrantTable.GntstOkay)
                BeginDescribed(index, ref slot);
            else
                FailUndescribed(index, ref slot, status);
        }
    }

    private void BeginDescribed(int index, ref RequestSlot slot)
    {
        ReadOnlySpan<Blkif.RequestSegment> segments = new(SegmentsOf(ref slot), slot.Request.NrSegments);
        bool fits = RequestValidator.TryMeasure(segments, slot.Request.SectorNumber, _capacity, out int sectors);
        if (fits)
            SetExtent(ref slot, sectors);
        if (!fits || (_nativeSectors && !IsWholeBlocks(ref slot)))
        {
            Refund(MostBytesOf(ref slot));
            Reject(index, ref slot, Blkif.RspError);
            return;
        }
        Refund(MostBytesOf(ref slot) - slot.LengthBytes);
        if (slot.Kind == RequestKind.Read && _mode == GrantMode.Copy)
            BeginRead(index, ref slot);
        else
            Fetch(index, ref slot);
    }

    private void FailUndescribed(int index, ref RequestSlot slot, short status)
    {
        Refund(MostBytesOf(ref slot));
        Fail(index, ref slot, FaultKind.GrantCopy, status);
    }

    /// <summary>
    /// What the request is charged with before its list says how much it moves: a ring full of long ones would
    /// otherwise pass the limits of its device at once.
    /// </summary>
    private static int MostBytesOf(ref RequestSlot slot) => slot.Request.NrSegments * Arena.PageBytes;

    private void Refund(int bytes)
    {
        if (_throttle is null || bytes == 0)
            return;
        _throttle.RefundBytes(bytes);
        // Those behind it may go on.
        _heldBack = false;
    }
}
