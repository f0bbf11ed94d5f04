using Blkring.Generators.Layout;
using Blkring.Generators.Model;

namespace Blkring.Generators.Emit;

/// <summary>The ABI-independent messages of a ring, and the interface of an ABI's codec.</summary>
internal static class MessageEmitter
{
    public static void Emit(SourceWriter writer, ProtocolLayout protocol, RingLayout ring)
    {
        string request = RingNames.Request(ring.Prefix);
        string response = RingNames.Response(ring.Prefix);
        Message(
            writer,
            request,
            ring.Request,
            SourceWriter.Doc($"A request of the ring {ring.CName} in no particular ABI", ring.Doc)
        );
        writer.Line();
        Message(writer, response, ring.Response, $"A response of the ring {ring.CName} in no particular ABI.");
        writer.Line();
        Interface(writer, ring, request, response);
    }

    private static void Message(SourceWriter writer, string name, MessageLayout message, string doc)
    {
        writer.Summary(doc);
        writer.Lines(
            """
            /// <remarks>
            /// Reading sets the members of the form that is on the ring and, of an array, the elements in use. Other
            /// members and elements keep their values, so an instance can be reused without being cleared.
            /// </remarks>
            """
        );
        writer.Block(
            $"public struct {name}",
            () =>
                writer.Separated(
                    message.Fields,
                    field =>
                    {
                        writer.Summary(SourceWriter.Doc($"{field.Field.CName} of {field.CStructs}", field.Field.Doc));
                        writer.Line($"public {field.Field.TypeName} {field.Name};");
                        if (!field.IsRaw)
                            return;
                        writer.Line();
                        string bytes = $"The bytes of {field.Field.CName} as the ring's ABI lays them out";
                        writer.Summary($"{bytes}: that ABI's own type gives them their meaning.");
                        writer.Line($"[System.Runtime.CompilerServices.InlineArray({field.Field.Count})]");
                        writer.Block(
                            $"public struct {TypeNames.Bytes(field.Name)}",
                            () => writer.Line("private byte _element0;")
                        );
                    }
                )
        );
    }

    private static void Interface(SourceWriter writer, RingLayout ring, string request, string response) =>
        writer.Lines(
            $$"""
            /// <summary>
            /// How one ABI lays out the entries of the ring {{ring.CName}}. A type parameter constrained to this
            /// interface gives straight calls that are inlined, not interface dispatch.
            /// </summary>
            public interface {{RingNames.Interface(ring.Prefix)}}
            {
                /// <summary>The ABI's name in the spec.</summary>
                static abstract string AbiName { get; }

                /// <summary>Size of an entry, bytes: sizeof(union {{ring.CName}}_sring_entry).</summary>
                static abstract int EntrySize { get; }

                /// <summary>
                /// Copies the request at <paramref name="entry"/>, loading each of its fields once. The other side can
                /// write to the entry at any time, so only the copy may be checked and used.
                /// </summary>
                static abstract void ReadRequest(byte* entry, ref {{request}} request);

                /// <summary>Stores the fields of the request's form, and nothing between them.</summary>
                static abstract void WriteRequest(byte* entry, in {{request}} request);

                /// <summary>Copies the response at <paramref name="entry"/>, loading each of its fields once.</summary>
                static abstract void ReadResponse(byte* entry, ref {{response}} response);

                /// <summary>
                /// Stores the fields of the response, and nothing between them: padding would leak this side's memory.
                /// </summary>
                static abstract void WriteResponse(byte* entry, in {{response}} response);
            }
            """
        );
}
