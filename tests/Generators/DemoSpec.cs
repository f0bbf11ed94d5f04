namespace Blkring.Generators.Tests;

/// <summary>Small specs around the part that a test is about.</summary>
internal static class DemoSpec
{
    public const string Abis = """<abi name="native" align-64="8"/><abi name="x86_32" align-64="4"/>""";

    /// <summary>The structs that a ring needs: header h, request q, response r.</summary>
    public const string RingStructs = """
        <struct name="h">
          <member name="req_prod" type="uint32_t"/><member name="req_event" type="uint32_t"/>
          <member name="rsp_prod" type="uint32_t"/><member name="rsp_event" type="uint32_t"/>
          <member name="pad" type="uint8_t" count="48"/>
        </struct>
        <struct name="q"><member name="op" type="uint8_t"/><member name="id" type="uint64_t"/></struct>
        <struct name="r"><member name="id" type="uint64_t"/></struct>
        """;

    public static string Of(string body) =>
        $"<protocol name=\"demo\" header=\"demo.h\">\n{Abis}\n{body}\n</protocol>\n";
}
