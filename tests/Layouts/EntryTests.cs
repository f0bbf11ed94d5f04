using Blkring.Abi;

namespace Blkring.Layouts.Tests;

/// <summary>Entries that C wrote are read right, and what is written is, byte for byte, what C writes.</summary>
public sealed unsafe class EntryTests
{
    private static readonly Lazy<Dictionary<string, byte[]>> Entries32 = new(() => Probe("-m32"));
    private static readonly Lazy<Dictionary<string, byte[]>> Entries64 = new(() => Probe("-m64"));

    public static TheoryData<string> Requests() =>
        ["read", "write", "barrier", "flush", "discard", "indirect", "too-many"];

    [Theory]
    [MemberData(nameof(Requests))]
    public void Requests_of_32_bit_C_are_read(string kind) => CheckRead<Blkif.X86_32>(Entries32.Value[kind], kind);

    [Theory]
    [MemberData(nameof(Requests))]
    public void Requests_of_64_bit_C_are_read(string kind)
    {
        CheckRead<Blkif.X86_64>(Entries64.Value[kind], kind);
        CheckRead<Blkif.Native>(Entries64.Value[kind], kind);
    }

    [Theory]
    [MemberData(nameof(Requests))]
    public void Requests_are_written_as_32_bit_C_does(string kind) =>
        CheckWritten<Blkif.X86_32>(Entries32.Value[kind], kind);

    [Theory]
    [MemberData(nameof(Requests))]
    public void Requests_are_written_as_64_bit_C_does(string kind)
    {
        CheckWritten<Blkif.X86_64>(Entries64.Value[kind], kind);
        CheckWritten<Blkif.Native>(Entries64.Value[kind], kind);
    }

    [Fact]
    public void Responses_are_written_and_read_as_32_bit_C_does() =>
        CheckResponse<Blkif.X86_32>(Entries32.Value["response"]);

    [Fact]
    public void Responses_are_written_and_read_as_64_bit_C_does()
    {
        CheckResponse<Blkif.X86_64>(Entries64.Value["response"]);
        CheckResponse<Blkif.Native>(Entries64.Value["response"]);
    }

    [Fact]
    public void Segments_beyond_nr_segments_keep_what_they_held()
    {
        fixed (byte* entry = Entries64.Value["read"])
        {
            var request = default(Blkif.DecodedRequest);
            request.Seg[1].Gref = 77;
            Read<Blkif.X86_64>(entry, ref request);
            Assert.Equal(0xf0000000, request.Seg[0].Gref);
            Assert.Equal(77u, request.Seg[1].Gref);
        }
    }

    private static void CheckRead<TAbi>(byte[] c, string kind)
        where TAbi : struct, Blkif.IRing
    {
        Blkif.DecodedRequest expected = Expected(kind);
        Blkif.DecodedRequest request = default;
        fixed (byte* entry = c)
            Read<TAbi>(entry, ref request);

        Assert.Equal(c.Length, TAbi.EntrySize);
        Assert.Equal(Describe(expected), Describe(request));
    }

    private static void CheckWritten<TAbi>(byte[] c, string kind)
        where TAbi : struct, Blkif.IRing
    {
        Blkif.DecodedRequest request = Expected(kind);
        byte[] entry = Filled(TAbi.EntrySize);
        fixed (byte* at = entry)
            TAbi.WriteRequest(at, in request);

        Assert.Equal(c, entry);
    }

    private static void CheckResponse<TAbi>(byte[] c)
        where TAbi : struct, Blkif.IRing
    {
        var response = new Blkif.DecodedResponse
        {
            Id = 0x1122334455667788,
            Operation = Blkif.OpWrite,
            Status = Blkif.RspEopnotsupp,
        };
        byte[] entry = Filled(TAbi.EntrySize);
        Blkif.DecodedResponse read = default;
        fixed (byte* at = entry)
        {
            TAbi.WriteResponse(at, in response);
            TAbi.ReadResponse(at, ref read);
        }

        // Equal to C's bytes, so the padding still holds the filling.
        Assert.Equal(c, entry);
        Assert.Equal(SharedPages.Filling, entry[9]);
        Assert.Equal((response.Id, response.Operation, response.Status), (read.Id, read.Operation, read.Status));
    }

    private static void Read<TAbi>(byte* entry, ref Blkif.DecodedRequest request)
        where TAbi : struct, Blkif.IRing => TAbi.ReadRequest(entry, ref request);

    /// <summary>What Probes/entries.c writes.</summary>
    private static Blkif.DecodedRequest Expected(string kind)
    {
        var request = new Blkif.DecodedRequest
        {
            Handle = 0xca10,
            Id = 0x1122334455667788,
            SectorNumber = 0x99aabbccddeeff00,
        };
        (request.Operation, request.NrSegments) = kind switch
        {
            "read" => ((byte)Blkif.OpRead, (ushort)1),
            "write" => ((byte)Blkif.OpWrite, (ushort)Blkif.MaxSegmentsPerRequest),
            "barrier" => ((byte)Blkif.OpWriteBarrier, (ushort)4),
            "flush" => ((byte)Blkif.OpFlushDiskcache, (ushort)0),
            // More than the array holds: the count is told as it is, the segments stop at the array's end.
            "too-many" => ((byte)Blkif.OpWrite, (ushort)255),
            "discard" => ((byte)Blkif.OpDiscard, (ushort)0),
            _ => ((byte)Blkif.OpIndirect, (ushort)4096),
        };
        if (kind == "discard")
            (request.Flag, request.NrSectors) = (Blkif.DiscardSecure, 0x0123456789abcdef);
        else if (kind == "indirect")
        {
            request.IndirectOp = Blkif.OpWrite;
            for (int i = 0; i < Blkif.MaxIndirectPagesPerRequest; i++)
                request.IndirectGrefs[i] = 0xe0000000 + (uint)i;
        }
        else
        {
            for (int i = 0; i < Math.Min((int)request.NrSegments, Blkif.MaxSegmentsPerRequest); i++)
                request.Seg[i] = new Blkif.RequestSegment
                {
                    Gref = 0xf0000000 + (uint)i,
                    FirstSect = (byte)i,
                    LastSect = (byte)(7 - i % 8),
                };
        }
        return request;
    }

    private static string Describe(in Blkif.DecodedRequest r)
    {
        var text = new System.Text.StringBuilder();
        text.Append(
            System.Globalization.CultureInfo.InvariantCulture,
            $"{r.Operation} {r.NrSegments} {r.Handle:x} {r.Id:x} {r.SectorNumber:x} {r.Flag} "
                + $"{r.NrSectors:x} {r.IndirectOp}"
        );
        foreach (Blkif.RequestSegment s in r.Seg)
            text.Append(System.Globalization.CultureInfo.InvariantCulture, $" {s.Gref:x}/{s.FirstSect}-{s.LastSect}");
        foreach (uint gref in r.IndirectGrefs)
            text.Append(System.Globalization.CultureInfo.InvariantCulture, $" {gref:x}");
        return text.ToString();
    }

    private static byte[] Filled(int length)
    {
        byte[] bytes = new byte[length];
        bytes.AsSpan().Fill(SharedPages.Filling);
        return bytes;
    }

    private static Dictionary<string, byte[]> Probe(string machine) =>
        CProbe
            .Run(File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "Probes", "entries.c")), machine)
            .Select(line => line.Split('|'))
            .ToDictionary(part => part[0], part => Convert.FromHexString(part[1]));
}
