using System.Text;

namespace Blkring.Generators.Emit;

/// <summary>
/// Indented lines of C#. The newline is '\n' on every host, so that the same spec gives the same bytes.
/// </summary>
internal sealed class SourceWriter
{
    private readonly StringBuilder _text = new();
    private int _depth;

    public override string ToString() => _text.ToString();

    public void Line(string line = "")
    {
        if (line.Length > 0)
            _text.Append(' ', 4 * _depth).Append(line);
        _text.Append('\n');
    }

    /// <summary>Writes a block of several lines at the current depth.</summary>
    public void Lines(string block)
    {
        foreach (string line in block.Replace("\r", "").Split('\n'))
            Line(line);
    }

    /// <summary>Writes <paramref name="head"/>, then braces around what <paramref name="body"/> writes.</summary>
    public void Block(string head, Action body)
    {
        Line(head);
        Line("{");
        Indent(body);
        Line("}");
    }

    public void Indent(Action body)
    {
        _depth++;
        body();
        _depth--;
    }

    public void Summary(string text) => Line($"/// <summary>{Escape(text)}</summary>");

    /// <summary>Each item, with an empty line between two.</summary>
    public void Separated<T>(IEnumerable<T> items, Action<T> write)
    {
        bool first = true;
        foreach (T item in items)
        {
            if (!first)
                Line();
            write(item);
            first = false;
        }
    }

    /// <summary>
    /// A spec's words as text of an XML comment: markup escaped, and on one line, for a second line would be code.
    /// </summary>
    public static string Escape(string text)
    {
        string oneLine = string.Join(" ", text.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries));
        return oneLine.Replace("&", "&amp;").Replace("<", "&lt;").Replace(">", "&gt;");
    }

    /// <summary>What a C declaration is called, and the header that has it; a format of our own has none.</summary>
    public static string From(string what, string header) => header.Length == 0 ? what : $"{what}, {header}";

    /// <summary>A first sentence about a declaration, and the spec's words about it.</summary>
    public static string Doc(string sentence, string doc) => $"{Sentence(sentence)} {Sentence(doc)}".TrimEnd();

    /// <summary>Ends a sentence that the spec may have left without words or without a full stop.</summary>
    public static string Sentence(string text) =>
        text.Length == 0 || text.EndsWith(".", StringComparison.Ordinal) ? text : text + ".";
}
