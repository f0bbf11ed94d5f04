using Blkring.Generators.Layout;
using Blkring.Generators.Model;
using Blkring.Generators.Parsing;
using Microsoft.CodeAnalysis.Text;

namespace Blkring.Layouts.Tests;

/// <summary>Every spec of abi/, read by the generator's own reader.</summary>
internal static class Specs
{
    public static IReadOnlyList<ProtocolSpec> All { get; } =
    [.. Directory.GetFiles(Path.Combine(AppContext.BaseDirectory, "abi"), "*.xml").Order().Select(Read)];

    /// <summary>Specs of Xen's headers: a C compiler says whether they are right.</summary>
    public static IEnumerable<ProtocolSpec> OfHeaders => All.Where(s => s.Header.Length > 0);

    /// <summary>Each spec of a header with each of its ABIs, as test arguments.</summary>
    public static TheoryData<string, string> ProtocolsAndAbis()
    {
        var data = new TheoryData<string, string>();
        foreach (ProtocolSpec spec in OfHeaders)
        {
            foreach (AbiSpec abi in spec.Abis.Where(a => CProbe.IsOfHost(a.Name)))
                data.Add(spec.Name, abi.Name);
        }
        return data;
    }

    public static TheoryData<string> Protocols() => [.. All.Select(s => s.Name)];

    public static TheoryData<string> ProtocolsOfHeaders() => [.. OfHeaders.Select(s => s.Name)];

    public static TheoryData<string> OwnProtocols() => [.. All.Except(OfHeaders).Select(s => s.Name)];

    public static ProtocolSpec Find(string protocol) => All.Single(s => s.Name == protocol);

    public static ProtocolLayout Layout(string protocol) => LayoutCalculator.Calculate(Find(protocol)).Layout!;

    public static AbiLayout Layout(string protocol, string abi) => Layout(protocol).Abis.Single(a => a.Name == abi);

    private static ProtocolSpec Read(string path)
    {
        SpecReading reading = SpecReader.Read(path, SourceText.From(File.ReadAllText(path)), CancellationToken.None);
        Assert.Empty(reading.Problems);
        return reading.Spec!;
    }
}
