namespace Blkring.AbiTools.Import;

/// <summary>
/// An element of a spec's text, as the import writes it. <paramref name="Owner"/>: the type that contains it, or empty.
/// </summary>
internal sealed record SpecElement(string Kind, string Name, string Owner)
{
    /// <summary>
    /// The last element that begins before a position: the element of a problem on its name or attribute.
    /// </summary>
    public static SpecElement At(string text, int position)
    {
        int start = text.LastIndexOf('<', position);
        int depth = start - text.LastIndexOf('\n', start);
        // The members of a type are indented deeper than types.
        int owner =
            depth <= TypeDepth
                ? -1
                : Math.Max(
                    text.LastIndexOf("\n  <struct ", start, StringComparison.Ordinal),
                    text.LastIndexOf("\n  <union ", start, StringComparison.Ordinal)
                );
        return new SpecElement(
            text[(start + 1)..text.IndexOfAny([' ', '>', '/'], start)],
            NameOf(text, start),
            owner < 0 ? "" : NameOf(text, owner)
        );
    }

    private const int TypeDepth = 3;

    private static string NameOf(string text, int start)
    {
        const string Name = " name=\"";
        int end = text.IndexOf('>', start);
        int name = text.IndexOf(Name, start, end - start, StringComparison.Ordinal);
        return name < 0 ? "" : text[(name + Name.Length)..text.IndexOf('"', name + Name.Length)];
    }
}
