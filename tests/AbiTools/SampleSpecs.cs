using Blkring.AbiTools.Layouts;

namespace Blkring.AbiTools.Tests;

/// <summary>Small specs around the part that a test is about.</summary>
internal static class SampleSpecs
{
    public static AbiSelection Everything { get; } = new(Abi: null, Struct: null);

    public static AbiSource Of(string body) =>
        AbiSource.Parse(
            "demo.xml",
            $"""
            <protocol name="demo" header="demo.h">
              <abi name="x86_64" align-64="8"/><abi name="x86_32" align-64="4"/>
              {body}
            </protocol>
            """
        );

    public static AbiSource Blkif => AbiSource.Shipped().Single(s => s.Model.Protocol == "blkif");
}
