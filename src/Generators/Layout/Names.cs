using Blkring.Generators.Model;

namespace Blkring.Generators.Layout;

internal static class TypeNames
{
    /// <summary>The inline array that holds the member <paramref name="member"/> (C name) of <paramref name="type"/> (C# name).</summary>
    public static string Array(string type, string member) => type + CSharpName.Pascal(member) + "Array";
}

/// <summary>The types generated for a ring. The ring named as its protocol has no prefix: Blkif.BackRing; netif's netif_tx has Tx.</summary>
internal static class RingNames
{
    public static string Prefix(RingSpec ring, string protocol) =>
        ring.Name == protocol ? "" : CSharpName.WithoutPrefix(ring.Name, protocol);

    public static string Interface(string prefix) => $"I{prefix}Ring";

    public static string Request(string prefix) => $"{prefix}DecodedRequest";

    public static string Response(string prefix) => $"{prefix}DecodedResponse";

    public static string Back(string prefix) => $"{prefix}BackRing";

    public static string Front(string prefix) => $"{prefix}FrontRing";

    public static IEnumerable<string> Types(string prefix) =>
        [Interface(prefix), Request(prefix), Response(prefix), Back(prefix), Front(prefix)];
}
