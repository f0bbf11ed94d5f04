using System.Runtime.CompilerServices;
using System.Xml;
using System.Xml.Linq;
using Blkring.Generators.Model;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Text;

namespace Blkring.Generators.Diagnostics;

/// <summary>
/// The problems of one spec file. Knows the XML element of each part of the model, so that the model needs no
/// positions.
/// </summary>
internal sealed class ProblemList(string path, SourceText text)
{
    private readonly Dictionary<object, XElement> _origins = new(ReferenceComparer.Instance);
    private readonly List<DiagnosticInfo> _found = [];

    public bool Any => _found.Count > 0;

    public EquatableArray<DiagnosticInfo> ToArray() => _found.ToEquatableArray();

    /// <summary>Records the element from which <paramref name="part"/> of the model was read.</summary>
    public T Origin<T>(T part, XElement element)
        where T : class
    {
        _origins[part] = element;
        return part;
    }

    /// <summary>
    /// Reports a problem of a part of the model, at the attribute if it is present, otherwise at the element.
    /// </summary>
    public void Add(DiagnosticDescriptor descriptor, object part, string? attribute, params string[] arguments)
    {
        XElement element = _origins[part];
        Add(descriptor, attribute is null ? element : element.Attribute(attribute) ?? (XObject)element, arguments);
    }

    public void Add(DiagnosticDescriptor descriptor, XObject where, params string[] arguments)
    {
        Add(descriptor, Locate(where), arguments);
    }

    public void Add(DiagnosticDescriptor descriptor, TextPosition at, params string[] arguments)
    {
        // The same mistake is often found once per ABI; one report is enough.
        if (!_found.Any(found => found.Descriptor.Equals(descriptor) && found.At == at))
            _found.Add(new DiagnosticInfo(descriptor, at, arguments.ToEquatableArray()));
    }

    /// <summary>The name of an element or attribute.</summary>
    public TextPosition Locate(XObject where)
    {
        var position = (IXmlLineInfo)where;
        int length = where switch
        {
            XElement element => element.Name.LocalName.Length,
            XAttribute attribute => attribute.Name.LocalName.Length,
            _ => 0,
        };
        return Locate(position.LineNumber, position.LinePosition, length);
    }

    /// <summary>Line and column count from 1, as XML readers count them.</summary>
    public TextPosition Locate(int line, int column, int length = 0)
    {
        // An XML error may be after the last line.
        int lineIndex = Clamp(line - 1, 0, text.Lines.Count - 1);
        TextSpan span = text.Lines[lineIndex].Span;
        int start = Clamp(span.Start + column - 1, span.Start, span.End);
        var where = TextSpan.FromBounds(start, Math.Min(start + length, span.End));
        return new TextPosition(path, where, text.Lines.GetLinePositionSpan(where));
    }

    private static int Clamp(int value, int low, int high) => Math.Max(low, Math.Min(value, high));

    // Two members that are equal as values may be in different places.
    private sealed class ReferenceComparer : IEqualityComparer<object>
    {
        public static readonly ReferenceComparer Instance = new();

        bool IEqualityComparer<object>.Equals(object? x, object? y) => ReferenceEquals(x, y);

        int IEqualityComparer<object>.GetHashCode(object obj) => RuntimeHelpers.GetHashCode(obj);
    }
}
