using Blkring.Generators.Layout;
using Blkring.Generators.Model;

namespace Blkring.Generators.Emit;

/// <summary>struct NAME_front_ring and the macros of ring.h that work on it.</summary>
internal static class FrontRingEmitter
{
    public static void Emit(SourceWriter writer, RingLayout ring)
    {
        string type = RingNames.Front(ring.Prefix);
        string back = RingNames.Back(ring.Prefix);
        string request = RingNames.Request(ring.Prefix);
        string response = RingNames.Response(ring.Prefix);
        writer.Lines(
            $$"""
            /// <summary>
            /// The frontend's half of a ring: struct {{ring.CName}}_front_ring of xen/io/ring.h. Puts requests, takes
            /// responses.
            /// </summary>
            /// <remarks>
            /// One thread at a time. Indexes count up freely and wrap at 2^32, so only differences of them mean
            /// anything.
            /// </remarks>
            public unsafe struct {{type}}<TAbi>
                where TAbi : struct, {{RingNames.Interface(ring.Prefix)}}
            {
                /// <summary>nr_ents: entries of the ring, a power of two.</summary>
                public readonly uint EntryCount;

                /// <summary>
                /// req_prod_pvt: index of the next request to put; published by <see cref="PushRequests"/>.
                /// </summary>
                public uint ReqProdPvt;

                /// <summary>rsp_cons: index of the next response to take.</summary>
                public uint RspCons;

                private readonly {{ring.Header.Name}}* _sring;

                private {{type}}({{ring.Header.Name}}* sring, uint entryCount, uint index)
                {
                    _sring = sring;
                    EntryCount = entryCount;
                    ReqProdPvt = index;
                    RspCons = index;
                }

                /// <summary>
                /// SHARED_RING_INIT: an empty ring of <paramref name="ringPages"/> pages at <paramref name="sring"/>.
                /// Unlike the macro it clears the entries too, so that nothing these pages held before is shown to the
                /// backend.
                /// </summary>
                /// <exception cref="ArgumentOutOfRangeException">
                /// As <see cref="{{back}}{TAbi}.EntryCountFor"/>.
                /// </exception>
                public static void Initialise(byte* sring, int ringPages)
                {
                    _ = {{back}}<TAbi>.EntryCountFor(ringPages);
                    NativeMemory.Clear(sring, (nuint)ringPages * {{back}}<TAbi>.PageSize);
                    (({{ring.Header.Name}}*)sring)->ReqEvent = 1;
                    (({{ring.Header.Name}}*)sring)->RspEvent = 1;
                }

                /// <summary>
                /// FRONT_RING_ATTACH: the frontend's half of the ring at <paramref name="sring"/>, which must stay
                /// allocated, <paramref name="ringPages"/> pages long, while this is in use. Both private indexes start
                /// at <paramref name="index"/>.
                /// </summary>
                /// <exception cref="ArgumentOutOfRangeException">
                /// As <see cref="{{back}}{TAbi}.EntryCountFor"/>.
                /// </exception>
                public static {{type}}<TAbi> Attach(byte* sring, int ringPages, uint index = 0) =>
                    new(({{ring.Header.Name}}*)sring, (uint){{back}}<TAbi>.EntryCountFor(ringPages), index);

                /// <summary>The entry of an index: within the ring for every index.</summary>
                [MethodImpl(MethodImplOptions.AggressiveInlining)]
                public readonly byte* EntryAt(uint index) =>
                    (byte*)_sring + {{ring.Header.Size}} + ((nuint)(index & (EntryCount - 1)) * (nuint)TAbi.EntrySize);

                /// <summary>RING_FREE_REQUESTS: entries free for requests.</summary>
                [MethodImpl(MethodImplOptions.AggressiveInlining)]
                public readonly uint FreeRequests() => EntryCount - (ReqProdPvt - RspCons);

                /// <summary>RING_FULL.</summary>
                [MethodImpl(MethodImplOptions.AggressiveInlining)]
                public readonly bool IsFull() => FreeRequests() == 0;

                /// <summary>
                /// RING_RESPONSE_PROD_OVERFLOW: more responses than the ring has entries; the backend misbehaves.
                /// </summary>
                [MethodImpl(MethodImplOptions.AggressiveInlining)]
                public readonly bool IsProducerOverflow(uint rspProd) => rspProd - RspCons > EntryCount;

                /// <summary>
                /// Puts a request at <see cref="ReqProdPvt"/> and counts it up. Seen by the backend once pushed.
                /// </summary>
                [MethodImpl(MethodImplOptions.AggressiveInlining)]
                public void PutRequest(in {{request}} request)
                {
                    TAbi.WriteRequest(EntryAt(ReqProdPvt), in request);
                    ReqProdPvt++;
                }

                /// <summary>
                /// RING_PUSH_REQUESTS_AND_CHECK_NOTIFY: publishes the requests put so far. True: the backend wants an
                /// event for them.
                /// </summary>
                public readonly bool PushRequests()
                {
                    uint old = _sring->ReqProd;
                    // Release (xen_wmb): the backend sees the requests before the index. Pairs with the acquire in
                    // {{back}}.LoadRequestProducer.
                    Volatile.Write(ref _sring->ReqProd, ReqProdPvt);
                    // Full (xen_mb): the index is out before req_event is read. Pairs with the one in
                    // {{back}}.FinalCheckForRequests: either we see its new req_event or it sees our requests.
                    Interlocked.MemoryBarrier();
                    uint wanted = Volatile.Read(ref _sring->ReqEvent);
                    return ReqProdPvt - wanted < ReqProdPvt - old;
                }

                /// <summary>
                /// RING_HAS_UNCONSUMED_RESPONSES: responses the backend says it has published and that are not taken
                /// yet.
                /// </summary>
                [MethodImpl(MethodImplOptions.AggressiveInlining)]
                public readonly uint UnconsumedResponses() =>
                    // Acquire (xen_rmb): what is read of the entries after this was written before the index was. Pairs
                    // with the release in {{back}}.PushResponses.
                    Volatile.Read(ref _sring->RspProd) - RspCons;

                /// <summary>Copies the response at <see cref="RspCons"/> and counts it up.</summary>
                [MethodImpl(MethodImplOptions.AggressiveInlining)]
                public void TakeResponse(ref {{response}} response)
                {
                    TAbi.ReadResponse(EntryAt(RspCons), ref response);
                    RspCons++;
                }

                /// <summary>
                /// RING_FINAL_CHECK_FOR_RESPONSES: asks for an event at the next response, before sleeping. True: there
                /// are responses already, do not sleep.
                /// </summary>
                public readonly bool FinalCheckForResponses()
                {
                    if (UnconsumedResponses() != 0)
                        return true;
                    Volatile.Write(ref _sring->RspEvent, RspCons + 1);
                    // Full (xen_mb): rsp_event is out before rsp_prod is read again. Pairs with the one in
                    // {{back}}.PushResponses: either we see its responses or it sees that we want an event.
                    Interlocked.MemoryBarrier();
                    return UnconsumedResponses() != 0;
                }
            }
            """
        );
    }
}
