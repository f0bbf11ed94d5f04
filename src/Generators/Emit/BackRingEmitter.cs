using Blkring.Generators.Layout;
using Blkring.Generators.Model;

namespace Blkring.Generators.Emit;

/// <summary>struct NAME_back_ring and the macros of ring.h that work on it.</summary>
internal static class BackRingEmitter
{
    public static void Emit(SourceWriter writer, RingLayout ring)
    {
        string type = RingNames.Back(ring.Prefix);
        string request = RingNames.Request(ring.Prefix);
        string response = RingNames.Response(ring.Prefix);
        writer.Lines(
            $$"""
            /// <summary>
            /// The backend's half of a ring: struct {{ring.CName}}_back_ring of xen/io/ring.h. Takes requests, puts
            /// responses.
            /// </summary>
            /// <remarks>
            /// One thread at a time. Indexes count up freely and wrap at 2^32, so only their differences mean anything.
            /// The other side can write anything to the shared page: nothing here trusts it more than ring.h does, and
            /// no index that it writes can make an access leave the ring.
            /// </remarks>
            public unsafe struct {{type}}<TAbi>
                where TAbi : struct, {{RingNames.Interface(ring.Prefix)}}
            {
                /// <summary>
                /// XEN_PAGE_SIZE, bytes: the size of ring pages, even if the host's pages are larger.
                /// </summary>
                public const int PageSize = {{Limits.PageSize}};

                /// <summary>nr_ents: entries of the ring, a power of two.</summary>
                public readonly uint EntryCount;

                /// <summary>req_cons: index of the next request to take.</summary>
                public uint ReqCons;

                /// <summary>
                /// rsp_prod_pvt: index of the next response to put; published by <see cref="PushResponses"/>.
                /// </summary>
                public uint RspProdPvt;

                private readonly {{ring.Header.Name}}* _sring;

                private {{type}}({{ring.Header.Name}}* sring, uint entryCount, uint index)
                {
                    _sring = sring;
                    EntryCount = entryCount;
                    ReqCons = index;
                    RspProdPvt = index;
                }

                /// <summary>
                /// __RING_SIZE: entries of a ring of <paramref name="ringPages"/> pages, the largest power of two that
                /// fits.
                /// </summary>
                /// <exception cref="ArgumentOutOfRangeException">
                /// Fewer than one page, or so many that the count does not fit an int.
                /// </exception>
                public static int EntryCountFor(int ringPages)
                {
                    ArgumentOutOfRangeException.ThrowIfLessThan(ringPages, 1);
                    long fit = (((long)ringPages * PageSize) - {{ring.Header.Size}}) / TAbi.EntrySize;
                    ArgumentOutOfRangeException.ThrowIfGreaterThan(fit, int.MaxValue, nameof(ringPages));
                    return 1 << BitOperations.Log2((ulong)fit);
                }

                /// <summary>
                /// BACK_RING_ATTACH: the backend's half of the ring at <paramref name="sring"/>, which must stay
                /// mapped, <paramref name="ringPages"/> pages long, while this is in use. Both private indexes start at
                /// <paramref name="index"/>.
                /// </summary>
                /// <exception cref="ArgumentOutOfRangeException">As <see cref="EntryCountFor"/>.</exception>
                public static {{type}}<TAbi> Attach(byte* sring, int ringPages, uint index = 0) =>
                    new(({{ring.Header.Name}}*)sring, (uint)EntryCountFor(ringPages), index);

                /// <summary>The entry of an index: within the ring for every index.</summary>
                [MethodImpl(MethodImplOptions.AggressiveInlining)]
                public readonly byte* EntryAt(uint index) =>
                    (byte*)_sring + {{ring.Header.Size}} + ((nuint)(index & (EntryCount - 1)) * (nuint)TAbi.EntrySize);

                /// <summary>req_prod: the requests the frontend says it has published.</summary>
                [MethodImpl(MethodImplOptions.AggressiveInlining)]
                public readonly uint LoadRequestProducer() =>
                    // Acquire (xen_rmb): what is read of the entries after this was written before the index was. Pairs
                    // with the release in {{RingNames.Front(ring.Prefix)}}.PushRequests, xen_wmb of the frontend.
                    Volatile.Read(ref _sring->ReqProd);

                /// <summary>
                /// RING_REQUEST_PROD_OVERFLOW: more requests than the ring has entries; the frontend misbehaves.
                /// </summary>
                [MethodImpl(MethodImplOptions.AggressiveInlining)]
                public readonly bool IsProducerOverflow(uint reqProd) => reqProd - RspProdPvt > EntryCount;

                /// <summary>
                /// RING_REQUEST_CONS_OVERFLOW: taking the request at this index would overtake the unsent responses.
                /// </summary>
                [MethodImpl(MethodImplOptions.AggressiveInlining)]
                public readonly bool IsConsumerOverflow(uint reqCons) => reqCons - RspProdPvt >= EntryCount;

                /// <summary>
                /// RING_HAS_UNCONSUMED_REQUESTS: the number of requests that can be taken; at most the entries that
                /// wait for no response, whatever the frontend publishes.
                /// </summary>
                [MethodImpl(MethodImplOptions.AggressiveInlining)]
                public readonly uint UnconsumedRequests()
                {
                    uint requests = LoadRequestProducer() - ReqCons;
                    uint room = EntryCount - (ReqCons - RspProdPvt);
                    return Math.Min(requests, room);
                }

                /// <summary>
                /// RING_COPY_REQUEST: copies the request at an index. The index does not change.
                /// </summary>
                [MethodImpl(MethodImplOptions.AggressiveInlining)]
                public readonly void CopyRequest(uint index, ref {{request}} request) =>
                    TAbi.ReadRequest(EntryAt(index), ref request);

                /// <summary>
                /// Puts a response at <see cref="RspProdPvt"/> and counts it up. Seen by the frontend once pushed.
                /// </summary>
                [MethodImpl(MethodImplOptions.AggressiveInlining)]
                public void PutResponse(in {{response}} response)
                {
                    TAbi.WriteResponse(EntryAt(RspProdPvt), in response);
                    RspProdPvt++;
                }

                /// <summary>
                /// RING_PUSH_RESPONSES_AND_CHECK_NOTIFY: publishes the responses put so far. True: the frontend wants
                /// an event for them.
                /// </summary>
                public readonly bool PushResponses()
                {
                    uint old = _sring->RspProd;
                    // Release (xen_wmb): the frontend sees the responses before the index. Pairs with the acquire in
                    // {{RingNames.Front(ring.Prefix)}}.UnconsumedResponses.
                    Volatile.Write(ref _sring->RspProd, RspProdPvt);
                    // Full (xen_mb): the index is out before rsp_event is read. Pairs with the one in
                    // {{RingNames.Front(ring.Prefix)}}.FinalCheckForResponses: either we see its new rsp_event or it
                    // sees our responses.
                    Interlocked.MemoryBarrier();
                    uint wanted = Volatile.Read(ref _sring->RspEvent);
                    return RspProdPvt - wanted < RspProdPvt - old;
                }

                /// <summary>
                /// RING_FINAL_CHECK_FOR_REQUESTS: asks for an event at the next request, before sleeping. True: there
                /// are requests already, do not sleep.
                /// </summary>
                public readonly bool FinalCheckForRequests()
                {
                    if (UnconsumedRequests() != 0)
                        return true;
                    Volatile.Write(ref _sring->ReqEvent, ReqCons + 1);
                    // Full (xen_mb): req_event is out before req_prod is read again. Pairs with the one in
                    // {{RingNames.Front(ring.Prefix)}}.PushRequests: either we see its requests or it sees that we want
                    // an event.
                    Interlocked.MemoryBarrier();
                    return UnconsumedRequests() != 0;
                }
            }
            """
        );
    }
}
