using System.Globalization;
using System.Text;
using Blkring.Abi;

namespace Blkring.Layouts.Tests;

/// <summary>
/// The generated rings against the macros of ring.h: the same operations give the same indexes and decisions.
/// </summary>
public sealed unsafe class RingBehaviourTests
{
    private static readonly string[] Decisions =
    [
        "push-requests",
        "push-responses",
        "final-requests",
        "final-responses",
        "full",
        "request-prod-overflow",
        "request-cons-overflow",
        "response-prod-overflow",
    ];

    // A start before the wrap at 2^32, one at it, and one far from it.
    public static TheoryData<int, uint, int> Runs() =>
        new()
        {
            { 1, 0xfffffff0, 1 },
            { 1, 0, 2 },
            { 2, 0xffffffff, 3 },
            { 8, 0x7fffff80, 4 },
            { 16, 0xfffffe00, 5 },
        };

    [Theory]
    [MemberData(nameof(Runs))]
    public void Rings_of_32_bit_guests_decide_as_the_macros_do(int pages, uint index, int seed) =>
        Compare<Blkif.X86_32>("-m32", pages, index, seed);

    [Theory]
    [MemberData(nameof(Runs))]
    public void Rings_of_64_bit_guests_decide_as_the_macros_do(int pages, uint index, int seed) =>
        Compare<Blkif.X86_64>("-m64", pages, index, seed);

    [Theory]
    [MemberData(nameof(Runs))]
    public void Native_rings_decide_as_the_macros_do(int pages, uint index, int seed) =>
        Compare<Blkif.Native>("-m64", pages, index, seed);

    private static void Compare<TAbi>(string machine, int pages, uint index, int seed)
        where TAbi : struct, Blkif.IRing
    {
        (string Operation, uint Argument)[] script = RingScript.Make(
            (uint)Blkif.BackRing<TAbi>.EntryCountFor(pages),
            index,
            seed
        );
        var input = new StringBuilder(string.Create(CultureInfo.InvariantCulture, $"{pages} {index}\n"));
        foreach ((string operation, uint argument) in script)
            input.Append(CultureInfo.InvariantCulture, $"{operation} {argument}\n");

        string[] expected = CProbe.Run(
            File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "Probes", "ring.c")),
            machine,
            input.ToString()
        );

        // A comparison of decisions that all fall one way would prove little.
        Assert.All(
            Decisions,
            decision =>
                Assert.Equal(
                    2,
                    expected
                        .Where(line => line.StartsWith(decision + " ", StringComparison.Ordinal))
                        .Select(line => line.Split(' ')[3])
                        .Distinct()
                        .Count()
                )
        );

        using var shared = new SharedPages(pages);
        var rings = new Rings<TAbi>(shared, pages, index);
        Assert.Equal(expected, script.Select(step => rings.Apply(step.Operation, step.Argument)));
    }

    /// <summary>Both halves on one shared ring; prints as Probes/ring.c does.</summary>
    private sealed class Rings<TAbi>
        where TAbi : struct, Blkif.IRing
    {
        private readonly byte* _start;
        private Blkif.FrontRing<TAbi> _front;
        private Blkif.BackRing<TAbi> _back;

        public Rings(SharedPages shared, int pages, uint index)
        {
            _start = shared.Start;
            Blkif.FrontRing<TAbi>.Initialise(_start, pages);
            _front = Blkif.FrontRing<TAbi>.Attach(_start, pages, index);
            _back = Blkif.BackRing<TAbi>.Attach(_start, pages, index);
            Assert.Equal(_front.EntryCount, _back.EntryCount);
        }

        private Blkif.Sring* Sring => (Blkif.Sring*)_start;

        public string Apply(string operation, uint argument)
        {
            uint result = Do(operation, argument);
            return string.Create(
                CultureInfo.InvariantCulture,
                $"{operation} {argument} = {result}: {Sring->ReqProd} {Sring->ReqEvent} {Sring->RspProd} "
                    + $"{Sring->RspEvent}, front {_front.ReqProdPvt} {_front.RspCons}, back {_back.ReqCons} "
                    + $"{_back.RspProdPvt}, {_back.EntryCount}"
            );
        }

        private uint Do(string operation, uint argument) =>
            operation switch
            {
                "put-requests" => Zero(_front.ReqProdPvt += argument),
                "push-requests" => Bit(_front.PushRequests()),
                "take-requests" => Zero(_back.ReqCons += argument),
                "put-responses" => Zero(_back.RspProdPvt += argument),
                "push-responses" => Bit(_back.PushResponses()),
                "take-responses" => Zero(_front.RspCons += argument),
                "final-requests" => Bit(_back.FinalCheckForRequests()),
                "final-responses" => Bit(_front.FinalCheckForResponses()),
                "unconsumed-requests" => _back.UnconsumedRequests(),
                "unconsumed-responses" => _front.UnconsumedResponses(),
                "free-requests" => _front.FreeRequests(),
                "full" => Bit(_front.IsFull()),
                "request-prod-overflow" => Bit(_back.IsProducerOverflow(argument)),
                "request-cons-overflow" => Bit(_back.IsConsumerOverflow(argument)),
                "response-prod-overflow" => Bit(_front.IsProducerOverflow(argument)),
                "request-offset" => (uint)(_back.EntryAt(argument) - _start),
                "response-offset" => (uint)(_front.EntryAt(argument) - _start),
                "set-req-prod" => Zero(Sring->ReqProd = argument),
                "set-rsp-prod" => Zero(Sring->RspProd = argument),
                "set-req-event" => Zero(Sring->ReqEvent = argument),
                "set-rsp-event" => Zero(Sring->RspEvent = argument),
                _ => throw new ArgumentException(operation),
            };

        private static uint Bit(bool value) => value ? 1u : 0u;

        private static uint Zero(uint _) => 0;
    }

    [Fact]
    public void Messages_cross_the_ring_past_the_wrap_of_the_index() => CrossTheWrap<Blkif.X86_32>();

    [Fact]
    public void Messages_cross_a_64_bit_ring_past_the_wrap_of_the_index() => CrossTheWrap<Blkif.X86_64>();

    private static void CrossTheWrap<TAbi>()
        where TAbi : struct, Blkif.IRing
    {
        const uint Start = 0xfffffff0;
        const uint Total = 200;
        using var shared = new SharedPages(1);
        Blkif.FrontRing<TAbi>.Initialise(shared.Start, 1);
        var front = Blkif.FrontRing<TAbi>.Attach(shared.Start, 1, Start);
        var back = Blkif.BackRing<TAbi>.Attach(shared.Start, 1, Start);
        *(Blkif.Sring*)shared.Start = new Blkif.Sring
        {
            ReqProd = Start,
            RspProd = Start,
            ReqEvent = Start + 1,
            RspEvent = Start + 1,
        };

        uint put = 0;
        uint taken = 0;
        while (taken < Total)
        {
            while (!front.IsFull() && put < Total)
                front.PutRequest(new Blkif.DecodedRequest { Operation = Blkif.OpFlushDiskcache, Id = put++ });
            // The backend slept after its final check, so each push of the first request after it wants an event.
            Assert.True(front.PushRequests());
            Answer(ref back);
            Assert.True(front.FinalCheckForResponses());
            taken = TakeAll(ref front, taken);
        }
        Assert.Equal(unchecked(Start + Total), front.RspCons);
        Assert.Equal(front.EntryCount, front.FreeRequests());
    }

    private static void Answer<TAbi>(ref Blkif.BackRing<TAbi> back)
        where TAbi : struct, Blkif.IRing
    {
        Blkif.DecodedRequest request = default;
        Assert.Equal(back.LoadRequestProducer() - back.ReqCons, back.UnconsumedRequests());
        while (back.UnconsumedRequests() > 0)
        {
            back.CopyRequest(back.ReqCons++, ref request);
            back.PutResponse(
                new Blkif.DecodedResponse
                {
                    Id = request.Id,
                    Operation = request.Operation,
                    Status = Blkif.RspOkay,
                }
            );
        }
        Assert.True(back.PushResponses());
        Assert.False(back.FinalCheckForRequests());
    }

    private static uint TakeAll<TAbi>(ref Blkif.FrontRing<TAbi> front, uint taken)
        where TAbi : struct, Blkif.IRing
    {
        Blkif.DecodedResponse response = default;
        while (front.UnconsumedResponses() > 0)
        {
            front.TakeResponse(ref response);
            Assert.Equal(
                ((ulong)taken++, Blkif.OpFlushDiskcache, Blkif.RspOkay),
                (response.Id, response.Operation, response.Status)
            );
        }
        Assert.False(front.FinalCheckForResponses());
        return taken;
    }

    [Fact]
    public void Initialise_leaves_nothing_of_what_the_pages_held()
    {
        using var shared = new SharedPages(4);
        Blkif.FrontRing<Blkif.Native>.Initialise(shared.Start, 4);

        byte[] expected = new byte[shared.LengthBytes];
        expected[4] = 1;
        expected[12] = 1;
        Assert.Equal(expected, shared.Bytes.ToArray());
    }

    [Theory]
    [InlineData(0)]
    [InlineData(-1)]
    [InlineData(int.MinValue)]
    public void A_ring_without_pages_is_refused(int pages) =>
        Assert.Throws<ArgumentOutOfRangeException>(() => Blkif.BackRing<Blkif.Native>.EntryCountFor(pages));

    [Fact]
    public void An_entry_count_that_is_no_int_is_refused() =>
        Assert.Throws<ArgumentOutOfRangeException>(() => Blkif.BackRing<Blkif.Native>.EntryCountFor(int.MaxValue));

    [Fact]
    public void The_largest_ring_has_2_to_the_30_entries() =>
        Assert.Equal(1 << 30, Blkif.BackRing<Blkif.X86_32>.EntryCountFor((int)(((1L << 30) * 108 + 64 + 4095) / 4096)));
}
