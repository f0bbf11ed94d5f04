using System.Text;

namespace Blkring.Generators.Emit;

/// <summary>
/// Writes indented lines of C#. The newline is '\n' on every host, so that the same spec gives the same bytes.
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

    /// <summary>Writes each item, with an empty line between items.</summary>
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
    /// Text of a spec as text of an XML comment: escaped, and on one line, because a second line would be code.
    /// </summary>
    public static string Escape(string text)
    {
        string oneLine = string.Join(" ", text.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries));
        return oneLine.Replace("&", "&amp;").Replace("<", "&lt;").Replace(">", "&gt;");
    }

    /// <summary>The name of a C declaration and its header. A format of Blkring's own has no header.</summary>
    public static string From(string what, string header) => header.Length == 0 ? what : $"{what}, {header}";

    /// <summary>A first sentence about a declaration, and its documentation from the spec.</summary>
    public static string Doc(string sentence, string doc) => $"{Sentence(sentence)} {Sentence(doc)}".TrimEnd();

    /// <summary>Adds the full stop that the spec's words may lack. An empty text stays empty.</summary>
    public static string Sentence(string text) =>
        text.Length == 0 || text[text.Length - 1] is '.' or '?' or '!' or ':' ? text : text + ".";
}
